package servers

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Fetch installs Milvus under the user's cache folder, once: 53 MB from PyPI, 250 MB unpacked, about 10 s. Several
// processes may call it at once. It needs python3 with pip.
func Fetch(ctx context.Context) error { return milvusRelease().install(ctx) }

// FetchLite installs Milvus Lite like Fetch: 120 MB from PyPI, 360 MB unpacked, about 15 s. It needs Python 3.11 or later.
func FetchLite(ctx context.Context) error { return liteRelease().install(ctx) }

// FetchBrokers installs Pulsar and Kafka like Fetch: 300 MB from Maven's repository, about 20 s. It needs mvn.
func FetchBrokers(ctx context.Context) error {
	// One after the other: Maven 3 is not made for two that fill the same local repository.
	if err := pulsarRelease().install(ctx); err != nil {
		return err
	}
	return kafkaRelease().install(ctx)
}

// release is one version of a server, and its place in the cache folder.
type release struct {
	title string
	dir   string   // under the cache folder
	lock  string   // file beside dir that is locked meanwhile
	files []string // some that are there when it is installed
	// download makes the folder from nothing; tmp is there for what it leaves besides.
	download func(ctx context.Context, tmp, folder string) error
}

// install downloads the release, unless it is there.
func (r release) install(ctx context.Context) error {
	if err := r.locked(ctx); err != nil {
		return fmt.Errorf("install %s: %w", r.title, err)
	}
	return nil
}

func (r release) locked(ctx context.Context) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(cache, r.lock), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := r.installed(); err == nil {
		return nil
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	folder, dir := filepath.Join(tmp, r.dir), filepath.Join(cache, r.dir)
	if err := r.download(ctx, tmp, folder); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // an incomplete one
		return err
	}
	return os.Rename(folder, dir)
}

// installed is the release's folder. The error wraps ErrNotInstalled.
func (r release) installed() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, r.dir)
	for _, f := range r.files {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return "", fmt.Errorf("%s: %w (%w)", r.title, ErrNotInstalled, err)
		}
	}
	return dir, nil
}

func cacheDir() (string, error) {
	c, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(c, "kitestream"), nil
}

// verify checks that a folder holds exactly the files of a list that sha256sum made, with their content.
func verify(dir, sums string) error {
	want := map[string]string{}
	for line := range strings.Lines(sums) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[name] = sum
	}
	found, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range found {
		sum, err := sha256File(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		if want[f.Name()] != sum {
			return fmt.Errorf("%s has the hash %s, want %q", f.Name(), sum, want[f.Name()])
		}
		delete(want, f.Name())
	}
	for name := range want {
		return fmt.Errorf("%s was not downloaded", name)
	}
	return nil
}

func sha256File(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, bufio.NewReaderSize(f, 1<<20)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// tool runs a command that downloads or unpacks. What it said is part of the error.
func tool(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", name, err), errors.New(string(out)))
	}
	return nil
}
