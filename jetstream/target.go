package jetstream

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// TargetSpec is one cluster that follows.
type TargetSpec struct {
	// Name is 1 to 48 of a-z, 0-9, '_' and '-', and no other target of the task has it.
	Name string `json:"name"`
	// URI is where its proxy listens: http://host:port, https://host:port, tcp://host:port or host:port.
	URI string `json:"uri"`
	// TokenEnv names the environment variable of the workers that holds the token ("user:password" or an API key).
	TokenEnv string `json:"token_env,omitempty"`
	// TokenFile names the file on the workers that holds the token.
	TokenFile string `json:"token_file,omitempty"`
	// UsersFile names the file on the workers that holds passwords for users that are made there, a YAML map of user to
	// password, for a task with rbac: the source's own are in its etcd as hashes only.
	UsersFile string `json:"users_file,omitempty"`
}

func (t TargetSpec) validate(at string, p *problems) {
	p.name(at+".name", t.Name)
	if msg := checkURI(t.URI); msg != "" {
		p.add(at+".uri", "%s", msg)
	}
	if t.TokenEnv != "" && t.TokenFile != "" {
		p.add(at+".token_file", "token_env is given too; one of them")
	}
	if strings.ContainsAny(t.TokenEnv, "= \x00") {
		p.add(at+".token_env", "%q is no name of an environment variable", t.TokenEnv)
	}
}

// checkURI says what is wrong with a target's address. What was given is not repeated where it may hold a password.
func checkURI(uri string) string {
	const want = "want http://host:port, https://host:port, tcp://host:port or host:port"
	hostport := uri
	if strings.Contains(uri, "://") {
		u, err := url.Parse(uri)
		switch {
		case err != nil:
			return "is no URI; " + want
		case u.User != nil:
			return "holds a user or password; use token_env or token_file"
		case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "tcp":
			return fmt.Sprintf("has the scheme %q; %s", u.Scheme, want)
		case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			return "has something after the port; " + want
		}
		hostport = u.Host
	}
	host, port, err := net.SplitHostPort(hostport)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || host == "" || n < 1 || n > 65535 ||
		strings.ContainsAny(host, "@/ ") {
		return "is no address; " + want
	}
	return ""
}

// Token reads the target's token from where the spec says it is; empty when it says nothing. Getenv is os.LookupEnv.
func (t TargetSpec) Token(getenv func(string) (string, bool)) (string, error) {
	switch {
	case t.TokenEnv != "":
		v, ok := getenv(t.TokenEnv)
		if !ok {
			return "", fmt.Errorf("read token of target %s: environment variable %s is not set", t.Name, t.TokenEnv)
		}
		return v, nil
	case t.TokenFile != "":
		b, err := os.ReadFile(t.TokenFile)
		if err != nil {
			return "", fmt.Errorf("read token of target %s: %w", t.Name, err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	return "", nil
}

// Password reads the password that a user is to be made with from the target's users file. The error says what to do, and
// nothing of what is in the file.
func (t TargetSpec) Password(user string) (string, error) {
	const todo = "or create the user on the target; then resume the task"
	if t.UsersFile == "" {
		return "", fmt.Errorf("there is no password for user %q: name a users_file that has one for target %s, %s", user, t.Name, todo)
	}
	b, err := os.ReadFile(t.UsersFile)
	if err != nil {
		return "", fmt.Errorf("there is no password for user %q: read users_file of target %s: %w: put it there, %s", user, t.Name, err, todo)
	}
	var passwords map[string]any
	if err := yaml.UnmarshalStrict(b, &passwords); err != nil { // which may have quoted a password
		return "", fmt.Errorf("there is no password for user %q: users_file %s is no YAML or JSON map of user to password: mend it, %s", user, t.UsersFile, todo)
	}
	switch p := passwords[user].(type) {
	case nil:
		return "", fmt.Errorf("there is no password for user %q: add a line \"%s: PASSWORD\" to users_file %s, %s", user, user, t.UsersFile, todo)
	case string:
		if p != "" {
			return p, nil
		}
	}
	return "", fmt.Errorf("there is no password for user %q: what users_file %s has is no text, or empty: put it in quotes, %s", user, t.UsersFile, todo)
}
