package servers

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// wheel is the release, pinned by its content, in the form of a pip requirements file.
const wheel = `milvus==2.3.5 --hash=sha256:69515a0630ce29fd10e101fa442afea8ca1387b93a456cd9bd41fdf3deb93d04`

const (
	templateFile = "config.yaml.template"
	glogFile     = "glog.conf"
)

//go:embed unpack.py
var unpackScript string

// Fetch installs Milvus under the user's cache folder, once: 53 MB from PyPI, 250 MB unpacked, about 10 s. Several
// processes may call it at once. It needs python3 with pip.
func Fetch(ctx context.Context) error {
	dir, err := cacheDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("install Milvus: %w", err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("install Milvus: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("install Milvus: lock %s: %w", lock.Name(), err)
	}
	if _, err := installed(); err == nil {
		return nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return fmt.Errorf("install Milvus: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := download(ctx, tmp); err != nil {
		return fmt.Errorf("install Milvus: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil { // an incomplete one
		return fmt.Errorf("install Milvus: %w", err)
	}
	if err := os.Rename(filepath.Join(tmp, "milvus"), dir); err != nil {
		return fmt.Errorf("install Milvus: %w", err)
	}
	return nil
}

// download leaves the unpacked wheel in the folder milvus inside tmp.
func download(ctx context.Context, tmp string) error {
	requirements := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(wheel+"\n"), 0o644); err != nil {
		return err
	}
	if err := python(ctx, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes",
		"--only-binary", ":all:", "-d", tmp, "-r", requirements); err != nil {
		return fmt.Errorf("download by pip: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(found) != 1 {
		return errors.Join(fmt.Errorf("pip left %d wheels, want 1", len(found)), err)
	}
	if err := python(ctx, "-c", unpackScript, found[0], filepath.Join(tmp, "milvus")); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(found[0]), err)
	}
	return nil
}

func python(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "python3", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("python3: %w\n%s", err, out)
	}
	return nil
}

// installed is the folder that Fetch filled. The error wraps ErrNotInstalled.
func installed() (string, error) {
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	for _, f := range []string{filepath.Join("bin", "milvus"), templateFile, glogFile} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return "", fmt.Errorf("%w (%w)", ErrNotInstalled, err)
		}
	}
	return dir, nil
}

func cacheDir() (string, error) {
	c, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(c, "kitestream", "milvus-2.3.5"), nil
}
