package scan

import "github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

// Service is the server's API itself, for what is not about reading rows.
func (c *Client) Service() milvuspb.MilvusServiceClient { return c.service }
