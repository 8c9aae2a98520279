# What there is to do with this repository. Everything works on a fresh machine with Go, git and make.

GO ?= go
FUZZTIME ?= 1m

BENCHSTAT ?= golang.org/x/perf/cmd/benchstat@v0.0.0-20250813145418-2f7363a06fe1

.PHONY: demo test screenshots fmt lint bench bench-logins bench-phone bench-merchants fuzz defences

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
	$(GO) test -race -timeout 18m ./...

## screenshots: every page in every language into .screenshots/; open index.html there
screenshots:
	./scripts/install-test-tools
	SCREENSHOTS=$(CURDIR)/.screenshots $(GO) test -count=1 -run '^TestBrowser' ./demo

## fmt: what .ci/run checks
fmt:
	gofmt -w $$(git ls-files '*.go')

## lint: formatting, go vet, staticcheck, tidy go.mod
lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

## bench: what the plugin costs a request, beside a Caddy without it, and the Go benchmarks (about 10 minutes)
bench:
	./scripts/install-bench-tools
	$(GO) run ./bench/compare
	@results=$$(mktemp) && $(GO) test -run '^$$' -bench . -benchmem -count=6 . >"$$results" && $(GO) run $(BENCHSTAT) "$$results"; \
		status=$$?; rm -f "$$results"; exit $$status

## bench-logins: 1,000 complete browser logins, as fast as the machine allows
bench-logins:
	$(GO) run ./bench/logins

## bench-phone: 1,000 logins from phone numbers at once, each with a client that waits
bench-phone:
	$(GO) run ./bench/phone

## bench-merchants: what 10, 1,000 and 100,000 merchants cost at start, and in memory
bench-merchants:
	$(GO) run ./bench/merchants

## fuzz: every fuzz target for FUZZTIME, a minute each unless told (20 minutes in all)
fuzz:
	GO='$(GO)' ./scripts/fuzz $(FUZZTIME)

## defences: takes each defence out that SECURITY.md names, and sees its test fail (about 25 minutes on two cores; ONLY=cookie for some)
defences:
	$(GO) run ./internal/defences/run $(if $(ONLY),'$(ONLY)')
