# What there is to do with this repository. Everything works on a fresh machine with Go, git and make.

GO ?= go
FUZZTIME ?= 1m

BENCHSTAT ?= golang.org/x/perf/cmd/benchstat@v0.0.0-20250813145418-2f7363a06fe1

.PHONY: demo test test-stacks screenshots fmt lint bench bench-logins bench-phone bench-merchants bench-state bench-tills fuzz defences

# which defences `make defences` takes out: a regular expression; all where there is none
ONLY ?=

## demo: a Caddy with the plugin, a simulated Vipps MobilePay, and two shops
demo:
	@echo 'Starting (the first time takes a few minutes: Caddy is compiled). Then open'
	@echo '  http://shop-a.localhost:8080   a shop where everything needs a login'
	@echo '  http://shop-b.localhost:8080   a shop where only /account/ does'
	@echo '  http://till.localhost:8080     a till that logs a customer in from a phone number'
	@echo '  http://localhost:8090          the simulated Vipps MobilePay'
	@echo 'Stop with Ctrl-C.'
	$(GO) run ./cmd/caddy run --config demo/Caddyfile

## test: all tests, with the race detector; first it installs what they need (Chromium, php-fpm, ...)
test:
	./scripts/install-test-tools
	GO='$(GO)' ./scripts/test

## test-stacks: what each legacy stack sees, written into docs/upstream-headers.md (`make test` holds it against that)
test-stacks:
	./scripts/install-test-tools
	$(GO) -C integration test -count=1 -run '^TestStacks$$' ./stacks -args -update

## screenshots: every page in every language into .screenshots/ (open index.html there), and the README's into docs/pictures/
screenshots:
	./scripts/install-test-tools
	SCREENSHOTS=$(CURDIR)/.screenshots $(GO) -C integration test -count=1 -run '^TestBrowser' ./demo

## fmt: what .ci/run checks
fmt:
	gofmt -w $$(git ls-files '*.go')

# GOGC: most of it is compiling, which takes a sixth less CPU time when it seldom collects garbage.
## lint: formatting, and of every module go vet, staticcheck and a tidy go.mod
lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	@set -e; export GOGC=400; staticcheck=$$($(GO) -C scripts/tools tool -n staticcheck); for module in $$(./scripts/modules); do \
		echo "lint $$module"; $(GO) -C $$module vet ./...; (cd $$module && $$staticcheck ./...); $(GO) -C $$module mod tidy -diff; done

## bench: what the plugin costs a request, beside a Caddy without it, and the Go benchmarks (about 10 minutes, on a machine with nothing else to do)
bench:
	./scripts/install-bench-tools
	$(GO) -C bench run ./compare
	@results=$$(mktemp) && $(GO) -C bench test -run '^$$' -bench . -benchmem -benchtime=300ms -count=6 ./hotpath >"$$results" && \
		$(GO) test -run '^$$' -bench . -benchmem -benchtime=300ms -count=6 ./internal/session ./internal/merchant ./internal/revocation >>"$$results" && $(GO) run $(BENCHSTAT) "$$results"; \
		status=$$?; rm -f "$$results"; exit $$status

## bench-logins: 1,000 complete browser logins, as fast as the machine allows
bench-logins:
	$(GO) -C bench run ./logins

## bench-phone: 1,000 logins from phone numbers at once, each with a client that waits
bench-phone:
	$(GO) -C bench run ./phone

## bench-merchants: what 10, 1,000 and 100,000 merchants cost at start, and in memory
bench-merchants:
	$(GO) -C bench run ./merchants

## bench-state: what phone logins and revoked sessions cost in Redis and in Caddy's file storage, with ten instances
bench-state:
	$(GO) -C bench run ./state -phones 1000
	$(GO) -C bench run ./state -phones 100000
	$(GO) -C bench run ./state -ended 100000
	$(GO) -C bench run ./state -ended 1000000
	$(GO) -C bench run ./state -engine file -phones 100
	$(GO) -C bench run ./state -engine file -ended 100000

## bench-tills: 1,000 tills that wait at three Caddys on one Redis, and are woken by a ping (half a minute)
bench-tills:
	$(GO) -C integration test -count=1 -timeout 3m -tags tills -run '^TestRedisTillsWait$$' -v ./redis

## fuzz: every fuzz target for FUZZTIME, a minute each unless told (20 minutes in all)
fuzz:
	GO='$(GO)' ./scripts/fuzz $(FUZZTIME)

## defences: takes each defence out that SECURITY.md names, and sees its test fail (about 25 minutes on two cores; ONLY=cookie for some)
defences:
	$(GO) run ./internal/defences/run $(if $(ONLY),'$(ONLY)')
