package vipps

import (
	"context"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
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
	return closableTransport{
		RoundTripper: otelhttp.NewTransport(transport,
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return "vipps " + callIn(r.Context()) }),
			otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()),
		),
		transport: transport,
	}
}

// closableTransport lets http.Client close the connections, which otelhttp does not pass on.
type closableTransport struct {
	http.RoundTripper
	transport *http.Transport
}

// CloseIdleConnections closes what is not in use.
func (t closableTransport) CloseIdleConnections() { t.transport.CloseIdleConnections() }
