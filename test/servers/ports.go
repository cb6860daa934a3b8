package servers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Blocks of ports lie below the range that the kernel gives to outgoing connections, which could take one at any time.
const (
	firstPort = 20000
	lastPort  = 31999
	blockSize = 20
)

var (
	errClaimed   = errors.New("ports are claimed by another server")
	errPortTaken = errors.New("port is in use")
)

// freeBlock claims a block of free ports. The claim is a lock on a file, shared with the server that is started on it,
// and so ends when both have ended.
func freeBlock() (base int, lock *os.File, err error) {
	blocks := (lastPort + 1 - firstPort) / blockSize
	start := os.Getpid() // so that processes seldom try for the same one
	for i := range blocks {
		base = firstPort + (start+i)%blocks*blockSize
		if lock, err = claim(base); err == nil {
			return base, lock, nil
		}
		if !errors.Is(err, errClaimed) && !errors.Is(err, errPortTaken) {
			return 0, nil, err
		}
	}
	return 0, nil, fmt.Errorf("find %d free ports between %d and %d: %w", blockSize, firstPort, lastPort, err)
}

// claim takes the block that begins at base, when nobody has it and all of its ports are free.
func claim(base int) (*os.File, error) {
	dir := filepath.Join(os.TempDir(), "kitestream-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("claim ports: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(base)), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("claim ports: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("claim ports %d-%d: %w", base, base+blockSize-1, errClaimed)
	}
	for port := base; port < base+blockSize; port++ {
		// On all interfaces, as Milvus's internal components will.
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("claim port %d: %w", port, errPortTaken)
		}
		l.Close()
	}
	return f, nil
}
