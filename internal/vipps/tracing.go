package vipps

import (
	"context"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// callKey is where a request to Vipps MobilePay says which call it is.
type callKey struct{}

// calling names a call for spans and metrics. The names are a fixed few: accesstoken, discovery, keys,
// token, userinfo, backchannel, user_exists.
func calling(ctx context.Context, call string) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

func callIn(ctx context.Context) string {
	call, _ := ctx.Value(callKey{}).(string)
	return call
}

// traced makes each call a span inside the request's, where Caddy's `tracing` directive has begun one.
// The URLs of these calls hold nothing personal; bodies and headers are no attributes. Our trace is
// nothing Vipps MobilePay should hear of, so its headers do not go out.
func traced(transport *http.Transport) http.RoundTripper {
	return tracedTransport{
		tracing: otelhttp.NewTransport(transport,
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return "vipps " + callIn(r.Context()) }),
			otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()),
		),
		transport: transport,
	}
}

// tracedTransport traces what has a span to be inside. A span of anything else would be recorded by nobody, and cost 4 % of the
// CPU time of a login (make bench-logins).
type tracedTransport struct {
	tracing   http.RoundTripper
	transport *http.Transport
}

func (t tracedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace.SpanContextFromContext(r.Context()).IsValid() {
		return t.tracing.RoundTrip(r)
	}
	return t.transport.RoundTrip(r)
}

// CloseIdleConnections closes what is not in use. http.Client calls it, and otelhttp does not pass it on.
func (t tracedTransport) CloseIdleConnections() { t.transport.CloseIdleConnections() }
