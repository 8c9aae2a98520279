package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-vipps/vippslogin/state"
)

const day = 24 * time.Hour

// classes are how long entries are kept. A feed is a stream for each, since a stream is cut at its old end only: an entry
// is in the first that keeps it long enough. A stream expires as a whole when its newest entry is over.
var classes = [...]time.Duration{day, 8 * day, 64 * day, 512 * day}

const (
	// pageSize is how many entries of each stream are read at once.
	pageSize = 1000

	// blockFor is how long one command waits for entries.
	blockFor = 5 * time.Second

	// lookEvery is how often Next looks whether what was read is still there. A stream that is gone is noticed earlier, by
	// the generation.
	lookEvery = 10 * time.Second
)

// streams are the keys of a feed's streams. The braces put them into one slot of a Cluster, so that one command reads all.
func (e *engine) streams(feed string) (keys []string) {
	for _, class := range classes {
		keys = append(keys, fmt.Sprintf("%s{%s}:%dd", e.prefix, feed, class/day))
	}
	return keys
}

// record is the key that says what there is of a feed: the name of its generation, and for each stream until when it is
// there, in milliseconds since 1970. A server that evicts deletes streams one by one, and the record shows it.
func (e *engine) record(feed string) string { return e.prefix + "{" + feed + "}:streams" }

// appendScript adds entries to the stream KEYS[2], the one of number ARGV[2], cuts off what is older than ARGV[1]
// milliseconds, and has it expire then. A stream is cut in whole nodes ("~"), which costs next to nothing. What is added to
// a stream that was deleted before its time must not hide that: the record KEYS[1] is deleted then. It is written again only
// when it is half a minute off: entries are kept for a minute less than their stream.
var appendScript = redis.NewScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local record = redis.call('GET', KEYS[1])
if record then
	local n, off = 0, false
	local changed = string.gsub(record, ' (%d+)', function(ends)
		n = n + 1
		if n ~= tonumber(ARGV[2]) then return nil end
		ends = tonumber(ends)
		if ends > now and redis.call('PTTL', KEYS[2]) == -2 then
			redis.call('GETDEL', KEYS[1])
		elseif now + ARGV[1] - ends > 30000 then
			off = true
			return ' ' .. string.format('%.0f', now + ARGV[1])
		end
	end)
	if off then redis.call('SET', KEYS[1], changed) end
end
local oldest = string.format('%.0f', clock[1] * 1000 - ARGV[1])
for i = 3, #ARGV do
	redis.call('XADD', KEYS[2], 'MINID', '~', oldest, '*', 'e', ARGV[i])
end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
`)

// generationScript returns the name in the record KEYS[1] if all streams are there that should be. Otherwise it makes a
// record of those that are, with the name ARGV[1].
var generationScript = redis.NewScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local record, whole, n = redis.call('GET', KEYS[1]), true, 1
if record then
	for ends in string.gmatch(record, ' (%d+)') do
		n = n + 1
		if tonumber(ends) > now and redis.call('PTTL', KEYS[n]) == -2 then whole = false end
	end
	if whole and n == #KEYS then return string.match(record, '^%S+') end
end
record = ARGV[1]
for i = 2, #KEYS do
	local left = redis.call('PTTL', KEYS[i])
	record = record .. ' ' .. string.format('%.0f', left > 0 and now + left or 0)
end
redis.call('SET', KEYS[1], record)
return ARGV[1]
`)

// Generation implements state.Generational.
func (e *engine) Generation(ctx context.Context, feed string) (name string, err error) {
	err = e.call(ctx, func(ctx context.Context) error {
		name, err = generationScript.Run(ctx, e.client, append([]string{e.record(feed)}, e.streams(feed)...), rand.Text()).Text()
		return err
	})
	return name, err
}

// Append implements state.Engine.
func (e *engine) Append(ctx context.Context, feed string, life time.Duration, entries ...[]byte) error {
	class := slices.IndexFunc(classes[:], func(class time.Duration) bool { return life > 0 && life <= class-time.Minute })
	if class < 0 {
		return fmt.Errorf("%w: redis: an entry cannot be kept for %s", state.ErrUnavailable, life)
	}
	for part := range slices.Chunk(entries, pageSize) {
		args := []any{milliseconds(classes[class]), class + 1}
		for _, entry := range part {
			args = append(args, entry)
		}
		err := e.call(ctx, func(ctx context.Context) error {
			return appendScript.Run(ctx, e.client, []string{e.record(feed), e.streams(feed)[class]}, args...).Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readTo is a position: the id of the last entry that was read of each stream, when it was seen that they are there, and
// how many connections had been made before.
type readTo struct {
	ids         [len(classes)]string
	looked      time.Time
	connections int64
}

// Next implements state.Engine.
func (e *engine) Next(ctx context.Context, feed string, position state.Position, wait time.Duration) ([][]byte, state.Position, error) {
	at, ok := position.(readTo)
	if !ok {
		at = readTo{looked: time.Now()}
		for i := range at.ids {
			at.ids[i] = "0-0"
		}
	}
	for deadline := time.Now().Add(wait); ; {
		entries, next, err := e.read(ctx, feed, at, time.Until(deadline))
		if err != nil {
			return nil, position, err
		}
		if at = next; len(entries) > 0 || !time.Now().Before(deadline) {
			return entries, at, nil
		}
	}
}

// read reads what comes after a position, and waits for it, but not long.
func (e *engine) read(ctx context.Context, feed string, at readTo, wait time.Duration) ([][]byte, readTo, error) {
	if err := ctx.Err(); err != nil {
		return nil, at, available(ctx, err)
	}
	block := time.Duration(-1) // do not wait
	if wait >= time.Millisecond {
		block = min(wait, blockFor)
	}
	type result struct {
		streams []redis.XStream
		err     error
	}
	got := make(chan result, 1)
	go func() { // which the caller need not wait for: a command that waits hears of no context
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(block, 0)+e.timeout)
		defer cancel()
		streams, err := e.client.XRead(ctx, &redis.XReadArgs{Streams: append(e.streams(feed), at.ids[:]...), Count: pageSize, Block: block}).Result()
		got <- result{streams, err}
	}()
	select {
	case r := <-got:
		if r.err != nil && r.err != redis.Nil { // nothing new
			return nil, at, available(ctx, r.err)
		}
		// A server that comes back without its latest data breaks its connections, and the client makes new ones by itself.
		if connections := e.connections.Load(); connections != at.connections || time.Since(at.looked) >= lookEvery {
			if err := e.stillThere(ctx, feed, at); err != nil {
				return nil, at, err
			}
			at.connections, at.looked = connections, time.Now()
		}
		entries, next := e.entries(feed, at, r.streams)
		return entries, next, nil
	case <-ctx.Done():
		return nil, at, available(ctx, ctx.Err())
	}
}

// entries takes apart what was read.
func (e *engine) entries(feed string, at readTo, streams []redis.XStream) (entries [][]byte, next readTo) {
	keys := e.streams(feed)
	for _, stream := range streams {
		class := slices.Index(keys, stream.Stream)
		for _, message := range stream.Messages {
			if entry, ok := message.Values["e"].(string); ok {
				entries = append(entries, []byte(entry))
			}
			at.ids[class] = message.ID
		}
	}
	return entries, at
}

// stillThere fails with state.ErrLost where the last entry that was read of a stream is gone before its time: a server
// that lost its latest data has lost it first. What an instance has appended since, to a stream that lost some, does not
// hide it.
func (e *engine) stillThere(ctx context.Context, feed string, at readTo) error {
	for i, key := range e.streams(feed) {
		if at.ids[i] == "0-0" || time.Since(madeAt(at.ids[i])) > classes[i]-time.Hour {
			continue
		}
		var found []redis.XMessage
		err := e.call(ctx, func(ctx context.Context) (err error) {
			found, err = e.client.XRangeN(ctx, key, at.ids[i], at.ids[i], 1).Result()
			return err
		})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("%w: redis: %s does not have %s any more", state.ErrLost, key, at.ids[i])
		}
	}
	return nil
}

// madeAt is when an entry was added: its id begins with the milliseconds since 1970.
func madeAt(id string) time.Time {
	milliseconds, _, _ := strings.Cut(id, "-")
	unix, _ := strconv.ParseInt(milliseconds, 10, 64)
	return time.UnixMilli(unix)
}

// Interface guard
var _ state.Generational = (*engine)(nil)
