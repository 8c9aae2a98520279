package redis

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/caddy-vipps/vippslogin/state"
)

// engine is shared state in Redis. A key is a key there, which expires by itself. What takes more than one command to
// do in one step is a script of one key, so that it is correct on a Cluster.
type engine struct {
	state.Watchers

	client   redis.UniversalClient
	prefix   string
	timeout  time.Duration
	instance string // a random name of this one

	connections atomic.Int64 // that were made: after each, positions are looked at again

	ctx       context.Context // until stop
	stop      context.CancelFunc
	subscribe sync.Once
}

func newEngine(s *settings) *engine {
	// The client writes to standard error what its calls return as well, a line for each connection that fails: past
	// Caddy's log.
	logging.Disable()
	e := &engine{prefix: s.Prefix + ":", timeout: s.Timeout, instance: rand.Text()}
	e.client = s.client(func(context.Context, *redis.Conn) error {
		e.connections.Add(1)
		return nil
	})
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// call runs one command or script, within the time-out.
func (e *engine) call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return available(ctx, err)
	}
	err := do(ctx)
	switch {
	case err == nil:
		return nil
	case err == redis.Nil: // the server's own word that there is nothing; a wrapped one is a sentinel's that it knows no such master
		return state.ErrNotFound
	}
	return available(ctx, err)
}

// Get implements state.Engine.
func (e *engine) Get(ctx context.Context, key string) (value []byte, err error) {
	err = e.call(ctx, func(ctx context.Context) error {
		value, err = e.client.Get(ctx, e.prefix+key).Bytes()
		return err
	})
	return value, err
}

// Put implements state.Engine.
func (e *engine) Put(ctx context.Context, key string, value []byte, life time.Duration) error {
	return e.call(ctx, func(ctx context.Context) error { return e.client.Set(ctx, e.prefix+key, value, expiry(life)).Err() })
}

// expiry is a life that Redis takes: a whole millisecond or more; 0 is for ever.
func expiry(life time.Duration) time.Duration {
	if life == state.ForEver {
		return 0
	}
	return max(life, time.Millisecond)
}

// Add implements state.Engine.
func (e *engine) Add(ctx context.Context, key string, value []byte, life time.Duration) (added bool, err error) {
	err = e.call(ctx, func(ctx context.Context) error {
		there, err := e.client.SetArgs(ctx, e.prefix+key, value, redis.SetArgs{Mode: "NX", Get: true, TTL: expiry(life)}).Result()
		if err == redis.Nil { // there was none
			added, err = true, nil
		} else if err == nil {
			added = there == string(value)
		}
		return err
	})
	return added, err
}

// swapScript stores ARGV[2] in place of ARGV[1], and says so on the channel ARGV[4].
var swapScript = redis.NewScript(`
local there = redis.call('GET', KEYS[1])
if there == ARGV[2] then return 1 end
if there ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then
	redis.call('SET', KEYS[1], ARGV[2])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
`)

// Swap implements state.Engine.
func (e *engine) Swap(ctx context.Context, key string, old, value []byte, life time.Duration) (swapped bool, err error) {
	err = e.call(ctx, func(ctx context.Context) error {
		swapped, err = swapScript.Run(ctx, e.client, []string{e.prefix + key}, old, value, milliseconds(expiry(life)), e.channel(), e.message(key)).Bool()
		return err
	})
	return swapped && err == nil, err
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// takeScript removes a value, and says so on the channel ARGV[1].
var takeScript = redis.NewScript(`
local there = redis.call('GETDEL', KEYS[1])
if there then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return there
`)

// Take implements state.Engine.
func (e *engine) Take(ctx context.Context, key string) (taken []byte, err error) {
	err = e.call(ctx, func(ctx context.Context) error {
		text, err := takeScript.Run(ctx, e.client, []string{e.prefix + key}, e.channel(), e.message(key)).Text()
		taken = []byte(text)
		return err
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// countScript keeps the times of the events in milliseconds, by the clock of the server, which all instances share. It
// returns how long to wait, or 0 when it has counted.
var countScript = redis.NewScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local recent = {}
for at in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do
	if now - tonumber(at) < window then recent[#recent + 1] = at end
end
if #recent >= limit then return window - (now - tonumber(recent[#recent - limit + 1])) end
recent[#recent + 1] = string.format('%.0f', now)
redis.call('SET', KEYS[1], table.concat(recent, ' '), 'PX', ARGV[2])
return 0
`)

// Count implements state.Engine.
func (e *engine) Count(ctx context.Context, key string, limit int, window time.Duration) (wait time.Duration, err error) {
	err = e.call(ctx, func(ctx context.Context) error {
		left, err := countScript.Run(ctx, e.client, []string{e.prefix + key}, limit, milliseconds(expiry(window))).Int64()
		wait = time.Duration(left) * time.Millisecond
		return err
	})
	return wait, err
}

// Interface guard
var _ state.Engine = (*engine)(nil)
