package servers

import (
	"archive/tar"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// The brokers' files are pinned by content: what Maven brings must have these hashes, whichever repository it is from.
const (
	pulsarArtifact = "org.apache.pulsar:pulsar-server-distribution:4.0.8:tar.gz:bin"
	pulsarTarball  = "pulsar-server-distribution-4.0.8-bin.tar.gz"
	pulsarSums     = "35c7d064c9e0928edbf2e708989faba0379662f98aa84ce0d4190c59efb6765e  " + pulsarTarball
)

var (
	//go:embed kafka.pom
	kafkaPOM []byte
	// kafkaSums is a list by sha256sum, made in the folder lib of a new installation. A jar's name holds its version.
	//
	//go:embed kafka.sha256
	kafkaSums string
)

// dependency is the Maven plugin that downloads: with a version, so that Maven has nothing to choose.
const dependency = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:"

const pulsarConf = "conf/standalone.conf"

const brokerLock = "maven.lock" // one for both, see FetchBrokers

func pulsarRelease() release {
	return release{
		title: "Pulsar 4.0.8", dir: "pulsar-4.0.8", lock: brokerLock,
		files:    []string{"lib", pulsarConf},
		download: downloadPulsar,
	}
}

func kafkaRelease() release {
	return release{
		title: "Kafka 3.9.1", dir: "kafka-3.9.1", lock: brokerLock,
		files:    []string{"lib"},
		download: downloadKafka,
	}
}

// downloadPulsar asks for the distribution's tarball alone, not for what its description says that it depends on: that is
// inside.
func downloadPulsar(ctx context.Context, tmp, folder string) error {
	downloads := filepath.Join(tmp, "downloads")
	if err := maven(ctx, dependency+"copy", "-Dartifact="+pulsarArtifact, "-DoutputDirectory="+downloads); err != nil {
		return err
	}
	if err := verify(downloads, pulsarSums); err != nil {
		return err
	}
	if err := untar(filepath.Join(downloads, pulsarTarball), folder); err != nil {
		return fmt.Errorf("unpack %s: %w", pulsarTarball, err)
	}
	return nil
}

func downloadKafka(ctx context.Context, tmp, folder string) error {
	pom := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(pom, kafkaPOM, 0o644); err != nil {
		return err
	}
	lib := filepath.Join(folder, "lib")
	if err := maven(ctx, "-f", pom, dependency+"copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+lib); err != nil {
		return err
	}
	return verify(lib, kafkaSums)
}

func maven(ctx context.Context, args ...string) error {
	return tool(ctx, "mvn", append([]string{"-B", "-ntp", "-q", "-Dstyle.color=never"}, args...)...)
}

// untar unpacks what a Pulsar needs of its tarball: the jars and the stock configuration.
func untar(tarball, folder string) error {
	f, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(h.Name, "/") // without apache-pulsar-4.0.8/
		if h.Typeflag != tar.TypeReg || path.Dir(name) != "lib" && name != pulsarConf {
			continue
		}
		if err := extract(root, name, t); err != nil {
			return err
		}
	}
}

func extract(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
