package ingest

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// startSpan begins the trace of a webhook. A trace that the caller says it is
// part of is not gone on with: anyone could have every webhook recorded.
func (s *Server) startSpan(r *http.Request) (*http.Request, trace.Span) {
	// Even a span that goes nowhere costs a context and its options.
	if _, off := s.tracer.(noop.Tracer); off {
		return r, noop.Span{}
	}
	ctx, span := s.tracer.Start(r.Context(), "webhook", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	if span.IsRecording() {
		r = r.WithContext(ctx)
	}
	return r, span
}

// endSpan ends it with what became of the webhook. No path and no query: both
// can hold a key.
func endSpan(span trace.Span, o outcome, id string) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.Int("http.response.status_code", o.status()), attribute.String("spillway.action", o.action()),
		attribute.String("spillway.outcome", o.result()), attribute.String("spillway.request_id", id),
	)
	if o.site != nil {
		span.SetAttributes(attribute.String("spillway.site", o.site.Name))
	}
	if o.hook.ID != "" {
		span.SetAttributes(attribute.String("spillway.contact", o.hook.ID))
	}
	if o.status() >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, o.result())
	}
}
