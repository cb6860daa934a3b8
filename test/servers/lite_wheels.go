package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// liteWheels are Milvus Lite and pymilvus, whose protocol it is built on without saying so to pip: pure Python, pinned by
// their content.
const liteWheels = `
milvus-lite==3.2.2 --hash=sha256:106e2437054713afa31208cd081f1e2682253213949a5f544d983dfce1b3a16d
pymilvus==3.0.2 --hash=sha256:0ec7ca3a7d24d2ce13b2610c577f0978b08f461176222ea4dc1440375efc1cea
`

// liteLibraries are what the two need, pinned by version: their content differs from one Python to the next.
const liteLibraries = `
cachetools==8.0.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 faiss-cpu==1.15.1 grpcio==1.85.3 idna==3.20
numpy==2.4.6 orjson==3.13.0 packaging==26.4 pandas==3.1.1 protobuf==7.36.2 pyarrow==26.0.1 python-dateutil==4.0.0
python-dotenv==1.2.4 requests==2.34.2 typing-extensions==4.16.0 tzdata==2026.6 urllib3==2.8.0
`

// What is in Milvus Lite's folder: the packages, and a link to the Python that they were chosen for.
const (
	litePackages = "packages"
	litePython   = "python"
)

func liteRelease() release {
	return release{
		title: "Milvus Lite 3.2.2", dir: "milvus-lite-3.2.2", lock: "milvus-lite-3.2.2.lock",
		files:    []string{litePython, filepath.Join(litePackages, "milvus_lite", "cmdline.py")},
		download: downloadLite,
	}
}

func downloadLite(ctx context.Context, tmp, folder string) error {
	requirements := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(liteWheels), 0o644); err != nil {
		return err
	}
	if err := tool(ctx, "python3", "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
		"--require-hashes", "--only-binary", ":all:", "-d", tmp, "-r", requirements); err != nil {
		return fmt.Errorf("download by pip: %w", err)
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(wheels) != 2 {
		return errors.Join(fmt.Errorf("pip left %d wheels, want 2", len(wheels)), err)
	}
	args := append([]string{"-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-warn-script-location",
		"--only-binary", ":all:", "--target", filepath.Join(folder, litePackages)}, wheels...)
	if err := tool(ctx, "python3", append(args, strings.Fields(liteLibraries)...)...); err != nil {
		return fmt.Errorf("install by pip: %w", err)
	}
	// The interpreter itself: python3 may be a script that chooses one by the folder it is called in.
	link := "import os, sys; os.symlink(os.path.realpath(sys.executable), sys.argv[1])"
	if err := tool(ctx, "python3", "-c", link, filepath.Join(folder, litePython)); err != nil {
		return fmt.Errorf("find the Python interpreter: %w", err)
	}
	return nil
}
