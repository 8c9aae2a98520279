package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	goredis "github.com/redis/go-redis/v9"

	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/redis"
	"github.com/caddy-vipps/vippslogin/state"
)

// shared is the state of several instances.
type shared interface {
	engines() []state.Engine // one for each instance
	usage() (usage, error)
	stop()
}

// redisState is a Redis server of its own.
type redisState struct {
	folder  string
	cmd     *exec.Cmd
	client  *goredis.Client
	modules []*redis.Redis
}

func startRedis(folder string, instances int) (*redisState, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	r := &redisState{folder: folder, client: goredis.NewClient(&goredis.Options{Addr: address})}
	r.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); r.client.Ping(context.Background()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("redis-server does not answer at %s", address)
		}
	}
	for i := range instances {
		// Instances of one process share an engine if their configs are equal.
		module := &redis.Redis{Address: []string{address}, Timeout: fmt.Sprintf("%dms", 20000+i)}
		if err := module.Provision(caddy.Context{}); err != nil {
			return nil, err
		}
		r.modules = append(r.modules, module)
	}
	return r, nil
}

func (r *redisState) engines() (engines []state.Engine) {
	for _, module := range r.modules {
		engines = append(engines, module.Engine())
	}
	return engines
}

func (r *redisState) stop() {
	for _, module := range r.modules {
		_ = module.Cleanup()
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

var commandCalls = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+)`)

// number returns a field of INFO.
func number(info, name string) int64 {
	match := regexp.MustCompile(`(?m)^` + name + `:(\d+)`).FindStringSubmatch(info)
	if match == nil {
		return 0
	}
	n, _ := strconv.ParseInt(match[1], 10, 64)
	return n
}

// usage counts what clients sent: a script is one operation, and what it runs is not counted again.
func (r *redisState) usage() (u usage, err error) {
	info, err := r.client.Info(context.Background(), "all").Result()
	if err != nil {
		return u, err
	}
	calls := make(map[string]int64)
	for _, match := range commandCalls.FindAllStringSubmatch(info, -1) {
		calls[match[1]], _ = strconv.ParseInt(match[2], 10, 64)
	}
	// The scripts that append call GET, XADD and TIME, those that count TIME, GET and SET, those that swap GET, SET and PUBLISH,
	// and those that look at the generation GET and TIME. The latter run with revoked sessions only, where nobody counts.
	appended := calls["xadd"]
	u.operations = map[string]int64{
		"script": calls["evalsha"], "xread": calls["xread"], "xrange": calls["xrange"], "subscribe": calls["subscribe"],
		"get": calls["get"] - calls["evalsha"], "set": max(calls["set"]-calls["publish"]-(calls["time"]-appended), 0),
	}
	u.memory, u.sent, u.got = number(info, "used_memory")-number(info, "mem_clients_normal")-number(info, "mem_aof_buffer"), number(info, "total_net_output_bytes"), number(info, "total_net_input_bytes")
	u.disk = number(info, "aof_current_size")
	return u, nil
}

// files is Caddy's file storage, and counts what it is asked for.
type files struct {
	*certmagic.FileStorage
	counts    *[6]atomic.Int64
	instances int
}

var fileOperations = [...]string{"store", "load", "delete", "list", "lock", "other"}

func newFiles(folder string, instances int) *files {
	return &files{&certmagic.FileStorage{Path: folder}, new([6]atomic.Int64), instances}
}

func (f *files) engines() (engines []state.Engine) {
	for range f.instances {
		engines = append(engines, store.New(f))
	}
	return engines
}

func (f *files) stop() {}

func (f *files) usage() (u usage, err error) {
	u.operations = make(map[string]int64)
	for i, name := range fileOperations {
		u.operations[name] = f.counts[i].Load()
	}
	err = filepath.WalkDir(f.Path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".lock") {
			return nil // deleted meanwhile
		}
		if info, err := entry.Info(); err == nil {
			u.files++
			u.disk += info.Size()
		}
		return nil
	})
	return u, err
}

// Store implements certmagic.Storage.
func (f *files) Store(ctx context.Context, key string, value []byte) error {
	f.counts[0].Add(1)
	return f.FileStorage.Store(ctx, key, value)
}

// Load implements certmagic.Storage.
func (f *files) Load(ctx context.Context, key string) ([]byte, error) {
	f.counts[1].Add(1)
	return f.FileStorage.Load(ctx, key)
}

// Delete implements certmagic.Storage.
func (f *files) Delete(ctx context.Context, key string) error {
	f.counts[2].Add(1)
	return f.FileStorage.Delete(ctx, key)
}

// List implements certmagic.Storage.
func (f *files) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	f.counts[3].Add(1)
	return f.FileStorage.List(ctx, prefix, recursive)
}

// Lock implements certmagic.Locker. Unlock is not counted.
func (f *files) Lock(ctx context.Context, name string) error {
	f.counts[4].Add(1)
	return f.FileStorage.Lock(ctx, name)
}

// Exists implements certmagic.Storage.
func (f *files) Exists(ctx context.Context, key string) bool {
	f.counts[5].Add(1)
	return f.FileStorage.Exists(ctx, key)
}

// Stat implements certmagic.Storage.
func (f *files) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	f.counts[5].Add(1)
	return f.FileStorage.Stat(ctx, key)
}
