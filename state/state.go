// Package state is the interface between the plugin and whatever keeps what its instances share: logins from phone
// numbers, logins that were completed, sessions that were ended, and keys that are made once.
//
// An engine is a guest module of Caddy in the namespace vipps_login.state that implements Provider. The plugin has
// caddy_storage, and github.com/caddy-vipps/vippslogin/redis has redis. An engine of your own passes the tests in
// github.com/caddy-vipps/vippslogin/state/statetest.
package state

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotFound says that there is nothing under a key, and that the engine knows so. A failure of any kind is another
	// error: what was ended or used once must not come back because a connection broke.
	ErrNotFound = errors.New("there is nothing under this key in the shared state")

	// ErrUnavailable is what the plugin makes of every other error of an engine.
	ErrUnavailable = errors.New("the shared state does not work")

	// ErrLost is returned by Next: entries that were read from the feed before are not in it any more, although their
	// life is not over. A server that came back without its latest data is the usual reason.
	ErrLost = errors.New("the shared state has lost entries of a feed")
)

// ForEver is the life of what does not expire.
const ForEver time.Duration = 0

// Engine keeps values under keys, and entries in feeds. Its methods are called by many goroutines at once, and by many
// instances on one state. Each returns when its context ends. None takes a lock that others wait for.
//
// A key is made of one or more segments of letters, digits, '-' and '_' with '/' between them. Values and entries are
// opaque bytes, sealed by the plugin where they tell anything. No two values that are written are equal, but for those
// of Put: they have a random part. Calls may be repeated after an error, which may hide that the call succeeded. Errors are
// logged and shown: they have no secret in them, such as a password of a connection string.
//
// The life of a value or an entry counts from the call. What is over is not there any more, and an engine deletes it
// by itself.
type Engine interface {
	// Get returns the value of a key, or ErrNotFound. The caller may change the bytes.
	Get(ctx context.Context, key string) ([]byte, error)

	// Put stores a value, whatever is there.
	Put(ctx context.Context, key string, value []byte, life time.Duration) error

	// Add stores a value where there is none, in one step. It reports whether this value is there afterwards, which an
	// earlier call may have stored whose answer was lost.
	Add(ctx context.Context, key string, value []byte, life time.Duration) (added bool, err error)

	// Swap stores a value in place of an old one, in one step. It reports whether this value is there afterwards: false
	// says that there was another one than old, or none.
	Swap(ctx context.Context, key string, old, value []byte, life time.Duration) (swapped bool, err error)

	// Take removes a value and returns it, in one step: one of all callers gets it, and the others get ErrNotFound.
	Take(ctx context.Context, key string) ([]byte, error)

	// Count counts an event under a key, unless limit of them were counted within the window that ends now. Then it
	// counts nothing, and returns how long it is until the next one would be counted.
	Count(ctx context.Context, key string, limit int, window time.Duration) (wait time.Duration, err error)

	// Append adds entries to a feed. When it has returned, they are in it for their life at
	// least, and Next returns them to every instance.
	Append(ctx context.Context, feed string, life time.Duration, entries ...[]byte) error

	// Next returns entries of a feed that come after a position, those of one instance in the order in which it appended
	// them, and the position behind them. The position of the beginning is nil. Where there are none yet it waits for some, as long as wait, and then
	// returns none. An entry may be returned more than once, and after its life. ErrLost is returned in place of
	// entries, within a minute of when they were lost.
	Next(ctx context.Context, feed string, position Position, wait time.Duration) (entries [][]byte, next Position, err error)

	// Watch returns a channel that has an element whenever the value of a key may have been changed by Swap or Take at
	// another instance: who changes one knows. Changes in quick succession may be one element, and there may be elements
	// without a change. The caller calls stop when it has seen enough.
	Watch(key string) (changed <-chan struct{}, stop func())

	// Notifies reports whether Watch tells of a change at once. An engine that hears of none has an element from time to
	// time.
	Notifies() bool
}

// Generational is an Engine whose values can vanish one by one, as those of a server that evicts. Without it, an instance
// that starts would take a feed that has vanished for one that never had entries.
type Generational interface {
	// Generation names what there is of a feed. It makes a name if there is none, and another one when it finds that the
	// feed has lost entries.
	Generation(ctx context.Context, feed string) (name string, err error)
}

// Examiner is an Engine that can tell what is wrong with the settings of its server.
type Examiner interface {
	// Examine returns a sentence on what is wrong and how to mend it, or "". The sentence is logged and shown: it has no
	// secret. An engine that is not allowed to look returns "".
	Examine(ctx context.Context) (problem string, err error)
}

// Position says how far a feed was read. It is good for the engine that made it, and never changes; nil is the beginning.
type Position any

// Provider is what a guest module in the namespace vipps_login.state implements.
type Provider interface {
	// Engine is called once the module is provisioned. It does no network: Caddy starts while a server is away.
	Engine() Engine
}
