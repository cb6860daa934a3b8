package scan

import (
	"context"
	"errors"
)

// Config says where the Milvus is that is read.
type Config struct {
	// URI is http://host:port, https://host:port for TLS with the system's certificates, or host:port.
	URI string
	// Token is user:password or an API key. Empty: no authentication.
	Token string
}

// Client reads a Milvus. It is safe for concurrent use.
type Client struct{}

var errTodo = errors.New("not made yet")

// Dial makes a Client and checks that the server answers.
func Dial(ctx context.Context, cfg Config) (*Client, error) { return nil, errTodo }

// Close closes the connection.
func (c *Client) Close() error { return nil }

// Now is a timestamp of the source, later than that of every row that it has answered for so far.
func (c *Client) Now(ctx context.Context) (uint64, error) { return 0, errTodo }

// Collection describes a collection: ErrNoCollection if it is not there.
func (c *Client) Collection(ctx context.Context, database, name string) (*Collection, error) {
	return nil, errTodo
}
