package servers

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// wheel is Milvus's release, pinned by its content, in the form of a pip requirements file.
const wheel = `milvus==2.3.5 --hash=sha256:69515a0630ce29fd10e101fa442afea8ca1387b93a456cd9bd41fdf3deb93d04`

const (
	templateFile = "config.yaml.template"
	glogFile     = "glog.conf"
)

//go:embed unpack.py
var unpackScript string

func milvusRelease() release {
	return release{
		title: "Milvus 2.3.5", dir: "milvus-2.3.5", lock: "milvus-2.3.5.lock",
		files:    []string{filepath.Join("bin", "milvus"), templateFile, glogFile},
		download: downloadMilvus,
	}
}

func downloadMilvus(ctx context.Context, tmp, folder string) error {
	requirements := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(wheel+"\n"), 0o644); err != nil {
		return err
	}
	if err := tool(ctx, "python3", "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
		"--require-hashes", "--only-binary", ":all:", "-d", tmp, "-r", requirements); err != nil {
		return fmt.Errorf("download by pip: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(found) != 1 {
		return errors.Join(fmt.Errorf("pip left %d wheels, want 1", len(found)), err)
	}
	if err := tool(ctx, "python3", "-c", unpackScript, found[0], folder); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(found[0]), err)
	}
	return nil
}
