//go:build !unix

package natsd

import (
	"os"
	"path/filepath"
)

// lockFolder only opens the file: there is no lock here that ends with the process.
func lockFolder(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
