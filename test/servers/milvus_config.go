package servers

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v2"
)

// The wheel's configuration is a template with places such as "{{ etcd_port(int): 2379 }}".
const placePattern = `\{\{\s*(\w+)(?:\(\w+\))?:?\s*(.*?)\s*\}\}`

// render writes the folder configs: milvus.yaml, etcd.yaml and glog.conf.
func (m *Milvus) render(cache string) error {
	configs := filepath.Join(m.Dir, "configs")
	if err := os.MkdirAll(configs, 0o755); err != nil {
		return err
	}
	template, err := os.ReadFile(filepath.Join(cache, templateFile))
	if err != nil {
		return err
	}
	glog, err := os.ReadFile(filepath.Join(cache, glogFile))
	if err != nil {
		return err
	}
	conf, err := m.milvusYAML(template)
	if err != nil {
		return err
	}
	client, peer := "http://"+m.EtcdEndpoint, "http://"+m.addr(portPeer)
	etcd := fmt.Sprintf(`name: default
data-dir: %s/etcd
listen-client-urls: %s
advertise-client-urls: %s
listen-peer-urls: %s
initial-advertise-peer-urls: %s
initial-cluster: default=%s
`, m.Dir, client, client, peer, peer, peer)
	return errors.Join(
		writeFile(filepath.Join(configs, "milvus.yaml"), conf),
		writeFile(filepath.Join(configs, glogFile), glog),
		writeFile(filepath.Join(configs, "etcd.yaml"), []byte(etcd)),
	)
}

// milvusYAML fills the template, changes what this server needs otherwise, and lets the caller's settings win.
func (m *Milvus) milvusYAML(template []byte) ([]byte, error) {
	ports := map[string]int{
		"proxy_port": 0, "proxy_internal_port": 1, "root_coord_port": 2, "query_coord_port": 3, "query_node_port": 4,
		"index_coord_port": 5, "index_node_port": 6, "data_coord_port": 7, "data_node_port": 8, "etcd_port": portEtcd,
	}
	place := regexp.MustCompile(placePattern)
	filled := place.ReplaceAllStringFunc(string(template), func(s string) string {
		part := place.FindStringSubmatch(s)
		if off, ok := ports[part[1]]; ok {
			return fmt.Sprint(m.state.PortBase + off)
		}
		return part[2]
	})
	var conf map[any]any
	if err := yaml.Unmarshal([]byte(filled), &conf); err != nil {
		return nil, fmt.Errorf("read %s: %w", templateFile, err)
	}
	settings := m.settings()
	maps.Copy(settings, m.conf.Set)
	for path, value := range settings {
		var v any
		if err := yaml.Unmarshal([]byte(value), &v); err != nil {
			return nil, fmt.Errorf("read setting %s: %w", path, err)
		}
		if err := setPath(conf, path, v); err != nil {
			return nil, err
		}
	}
	if m.conf.MQ == KafkaMQ {
		delete(conf, "pulsar") // which Milvus would take when both are there
	}
	return yaml.Marshal(conf)
}

// settings are those in which a server of this package differs from the wheel's template, by dotted path.
func (m *Milvus) settings() map[string]string {
	s := map[string]string{
		"etcd.config.path":                  filepath.Join(m.Dir, "configs", "etcd.yaml"),
		"etcd.data.dir":                     filepath.Join(m.Dir, "etcd"),
		"etcd.log.level":                    "warn",
		"localStorage.path":                 filepath.Join(m.Dir, "data") + "/",
		"rocksmq.path":                      filepath.Join(m.Dir, "rdb"),
		"mq.type":                           m.conf.MQ,
		"natsmq.server.port":                fmt.Sprint(m.state.PortBase + portNATS),
		"natsmq.server.storeDir":            filepath.Join(m.Dir, "nats"),
		"natsmq.server.monitor.logFile":     filepath.Join(m.Dir, "nats.log"),
		"log.level":                         "warn",
		"common.gracefulStopTimeout":        "1",     // seconds, of 1800: a node waits this long for others to take over, and there are none
		"queryCoord.checkInterval":          "200",   // ms, of 1000: loading a collection takes this long several times
		"queryCoord.distPullInterval":       "200",   // ms, of 500: likewise
		"dataCoord.enableGarbageCollection": "false", // nothing lives long enough
	}
	if m.conf.QuickRestart {
		s["common.session.ttl"] = "5"
	}
	if m.conf.Broker != nil {
		maps.Copy(s, m.conf.Broker.queue().settings)
		s["msgChannel.chanNamePrefix.cluster"] = m.state.Channels
	}
	for _, c := range []string{"rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode"} {
		s[c+".ip"] = "127.0.0.1"
	}
	return s
}

// setPath sets the value at a dotted path, making the maps on the way.
func setPath(conf map[any]any, path string, value any) error {
	keys := strings.Split(path, ".")
	for _, k := range keys[:len(keys)-1] {
		switch next := conf[k].(type) {
		case map[any]any:
			conf = next
		case nil:
			m := map[any]any{}
			conf[k] = m
			conf = m
		default:
			return fmt.Errorf("set %s: %q holds a value, not settings", path, k)
		}
	}
	conf[keys[len(keys)-1]] = value
	return nil
}
