package servers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// state is what a folder remembers of its server, in a file such as milvus.json.
type state struct {
	PortBase int    `json:"port_base"` // first of the block's ports
	Pid      int    `json:"pid"`
	MQ       string `json:"mq,omitempty"`       // Milvus's kind of queue
	MQURL    string `json:"mq_url,omitempty"`   // and its address; empty when it can't be read
	Channels string `json:"channels,omitempty"` // what the names of Milvus's channels begin with on a broker
}

func (p *process) stateFile() string {
	return filepath.Join(p.Dir, strings.ToLower(p.kind.title)+".json")
}

// resume makes the folder and claims ports: the old ones, when the folder has been used before.
func (p *process) resume() (err error) {
	if p.Dir, err = filepath.Abs(p.Dir); err != nil {
		return fmt.Errorf("resolve the folder of %s: %w", p.kind.title, err)
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", p.kind.title, err)
	}
	if p.readState() != nil { // a new folder, or one whose start was cut short
		p.state = state{}
		p.state.PortBase, p.lock, err = freeBlock()
		return err
	}
	if p.running() {
		return fmt.Errorf("start %s in %s: it runs already, as process %d", p.kind.title, p.Dir, p.Pid)
	}
	p.Pid = 0 // another process may get that one
	if p.lock, err = claim(p.state.PortBase); err != nil {
		return fmt.Errorf("start %s in %s on its old ports: %w", p.kind.title, p.Dir, err)
	}
	return nil
}

// find takes up the server that another process runs in the folder.
func (p *process) find() error {
	if err := p.readState(); err != nil {
		return fmt.Errorf("find %s in %s: %w", p.kind.title, p.Dir, err)
	}
	if !p.running() {
		return fmt.Errorf("find %s in %s: process %d is not running", p.kind.title, p.Dir, p.Pid)
	}
	return nil
}

func (p *process) readState() error {
	b, err := os.ReadFile(p.stateFile())
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &p.state); err != nil {
		return fmt.Errorf("read %s: %w", p.stateFile(), err)
	}
	p.Pid = p.state.Pid
	return nil
}

func (p *process) saveState() error {
	p.state.Pid = p.Pid
	b, err := json.Marshal(p.state)
	if err == nil {
		err = writeFile(p.stateFile(), b)
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", p.stateFile(), err)
	}
	return nil
}

// writeFile replaces a file at once, so that a reader never sees half of it.
func writeFile(name string, b []byte) error {
	tmp := fmt.Sprintf("%s.%d", name, os.Getpid())
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
