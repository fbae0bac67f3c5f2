package worker

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"spillway/internal/contact"
	"spillway/internal/observe"
	"spillway/internal/pending"
	"spillway/internal/syncer"
)

// startSpan goes on with the trace of the newest recorded webhook that the pass
// covers. Without one the pass is not recorded: whether a trace is was decided
// when its webhook came.
func (w *Worker) startSpan(ctx context.Context, claim *pending.Claim) (context.Context, trace.Span) {
	remote := observe.Remote(claim.Trace)
	if !remote.IsSampled() {
		return ctx, trace.SpanFromContext(context.Background())
	}
	return w.options.Tracer.Tracer("spillway/internal/worker").Start(
		trace.ContextWithRemoteSpanContext(ctx, remote), "pass", trace.WithSpanKind(trace.SpanKindConsumer))
}

// endSpan ends it with what became of the pass; an error by its code alone.
func endSpan(span trace.Span, claim *pending.Claim, result contact.Result, err error) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String("spillway.site", claim.Ref.Site), attribute.String("spillway.contact", claim.Ref.ID), attribute.Stringer("spillway.action", claim.Intent.Action),
		attribute.String("spillway.request_id", claim.RequestID), attribute.Int("spillway.webhooks", claim.Covered),
		attribute.Int64("spillway.waited_ms", claim.Waited().Milliseconds()),
	)
	if err != nil {
		span.SetStatus(codes.Error, syncer.Judge(err, claim.Attempts).Code)
		return
	}
	span.SetAttributes(attribute.String("spillway.outcome", string(result.Outcome)))
}
