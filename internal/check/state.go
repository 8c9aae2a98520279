package check

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// selfTestLife is how long a value stays that could not be removed.
const selfTestLife = time.Minute

// aboutSharedState is there where the shared state is on a server, and not in files of this machine.
const aboutSharedState = "shared_state"

// StateProblem is a finding about an engine that does something wrong. It names the engine and the problem.
func StateProblem(engine, problem string) Finding {
	return Finding{Name: aboutSharedState, Status: statusFailed, Detail: OneLine(engine + ": " + problem),
		Fix: "Logins from phone numbers and return_in_any_browser would be refused: use another storage module, or state redis."}
}

// StateAway is a finding about a storage module that cannot be tried. Its error may have a secret in it, and is not shown.
func StateAway(engine string, _ error) Finding {
	return Finding{Name: aboutSharedState, Status: statusFailed, Detail: OneLine(engine + " does not answer, or refuses"),
		Fix: "See that this machine reaches the server, with the right user and password. Caddy's log has the error once it runs."}
}

// StateFails is a finding about an engine that cannot be tried. Its errors have no secret in them (state.Engine).
func StateFails(engine string, err error) Finding {
	return Finding{Name: aboutSharedState, Status: statusFailed, Detail: OneLine(engine + " does not answer, or refuses: " + err.Error()),
		Fix: "See that this machine reaches the server, and that address, user, password, rights and certificates are right: docs/troubleshooting.md, \"The shared state\", explains the error."}
}

// SharedState tries an engine: it stores a value, reads it and removes it. away makes the finding of an error: StateFails, or
// StateAway for a storage module.
func SharedState(ctx context.Context, engine string, shared state.Engine, away func(engine string, err error) Finding) Finding {
	key, value := "self_test/"+rand.Text(), []byte(rand.Text())
	if err := shared.Put(ctx, key, value, selfTestLife); err != nil {
		return away(engine, err)
	}
	got, err := shared.Get(ctx, key)
	if err == nil && string(got) != string(value) {
		return StateProblem(engine, fmt.Sprintf("it returns %d other bytes than were stored a moment ago", len(got)))
	}
	if err == nil {
		_, err = shared.Take(ctx, key)
	}
	if err != nil {
		return away(engine, err)
	}
	if problem := settingsProblem(ctx, shared); problem != "" {
		return Finding{Name: aboutSharedState, Status: statusFailed, Detail: OneLine(engine + ": " + problem),
			Fix: "Change it at the server, and in its file: revoked sessions would be valid again, or phone logins refused."}
	}
	return Finding{Name: aboutSharedState, Status: statusOK, Detail: OneLine(engine + ": a value was stored, read and removed")}
}

// settingsProblem is what the engine says of its server. An error is none: the server has just answered.
func settingsProblem(ctx context.Context, shared state.Engine) (problem string) {
	if server, ok := shared.(state.Examiner); ok {
		problem, _ = server.Examine(ctx)
	}
	return problem
}
