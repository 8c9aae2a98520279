package redis

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// channel is where changed keys are published: one for all, so that a client that waits costs no command.
func (e *engine) channel() string { return e.prefix + "changed" }

// Notifies implements state.Engine.
func (e *engine) Notifies() bool { return true }

// message is what is published about a changed key: which instance has changed it, and the key.
func (e *engine) message(key string) string { return e.instance + " " + key }

// pingEvery is how often a connection without news is asked whether it is alive.
const pingEvery = 10 * time.Second

// Watch implements state.Engine.
func (e *engine) Watch(key string) (changed <-chan struct{}, stop func()) {
	e.subscribe.Do(func() { go e.follow() }) // not before: `caddy validate` watches nothing
	return e.Watchers.Watch(key)
}

// follow hears of changes until the engine stops.
func (e *engine) follow() {
	for e.ctx.Err() == nil {
		e.hear()
		select {
		case <-time.After(200 * time.Millisecond):
		case <-e.ctx.Done():
		}
	}
}

// hear subscribes, and wakes those who watch until the connection breaks.
func (e *engine) hear() {
	subscription := e.client.Subscribe(e.ctx, e.channel())
	defer subscription.Close()
	stopped := context.AfterFunc(e.ctx, func() { _ = subscription.Close() })
	defer stopped()
	for {
		message, err := subscription.ReceiveTimeout(e.ctx, pingEvery)
		if isTimeout(err) {
			if err = subscription.Ping(e.ctx); err == nil {
				message, err = subscription.ReceiveTimeout(e.ctx, e.timeout)
			}
		}
		if err != nil {
			return
		}
		switch message := message.(type) {
		case *redis.Subscription:
			e.ChangedAll() // changes may have been missed
		case *redis.Message:
			if instance, key, _ := strings.Cut(message.Payload, " "); instance != e.instance {
				e.Changed(key)
			}
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}
