package site

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

const tracerName = "spillway/internal/site"

// startSpan begins a span below the one in ctx. If that one is not recorded
// neither is this.
func startSpan(ctx context.Context, name string) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(tracerName).Start(ctx, name)
}

// startRequestSpan begins the span of a request for many contacts. It is part
// of the first trace among them, and linked to the others.
func startRequestSpan(ctx context.Context, batch []*waiter) (context.Context, trace.Span) {
	var parent *waiter
	var links []trace.Link
	for _, w := range batch {
		switch {
		case !w.span.SpanContext().IsSampled():
		case parent == nil:
			parent = w
		default:
			links = append(links, trace.Link{SpanContext: w.span.SpanContext()})
		}
	}
	if parent == nil {
		return ctx, trace.SpanFromContext(context.Background())
	}
	return parent.span.TracerProvider().Tracer(tracerName).Start(
		trace.ContextWithSpan(ctx, parent.span), "site request", trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...))
}

// endRequestSpan ends it with what became of the request.
func endRequestSpan(span trace.Span, request Request) {
	defer span.End()
	span.SetAttributes(attribute.Int("spillway.batch_size", request.Contacts), attribute.String("spillway.outcome", request.Outcome))
	if request.Err != nil {
		span.SetStatus(codes.Error, request.Outcome)
	}
}
