package pulse

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// startSpan begins the span of one HTTP exchange below the one in ctx. If that
// one is not recorded neither is this.
func startSpan(ctx context.Context, route string) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer("spillway/internal/pulse").
		Start(ctx, "crm "+route, trace.WithSpanKind(trace.SpanKindClient))
}

// endSpan ends it with the status of the answer; zero: there was none.
func endSpan(span trace.Span, status int) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	if status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	switch {
	case status == 0:
		span.SetStatus(codes.Error, "no answer")
	case status >= http.StatusBadRequest:
		span.SetStatus(codes.Error, "refused")
	}
}
