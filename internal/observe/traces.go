package observe

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Traces sends spans to an OpenTelemetry collector, or nowhere.
//
// Spans hold the names of actions, outcomes and routes, status codes, sizes,
// contact ids and request ids: no e-mail address, no name, no key, no URL, no
// text of an error.
type Traces struct {
	trace.TracerProvider
	sdk *sdktrace.TracerProvider // nil: they are off
}

const (
	// traceStopTimeout bounds what a collector that does not answer adds to a
	// stop.
	traceStopTimeout = 5 * time.Second
	// traceComplaintPeriod is how often the log says that spans are lost.
	traceComplaintPeriod = time.Minute
)

// NewTraces sends the spans of a program by OTLP over HTTP, in the background,
// to where the environment says: OTEL_EXPORTER_OTLP_ENDPOINT, or the same for
// traces alone. Without these nothing is sent, and a span costs next to
// nothing. OpenTelemetry's other variables count, too, such as
// OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS and OTEL_SERVICE_NAME. Spans
// that the collector does not take in time are dropped; nothing waits for it.
func NewTraces(ctx context.Context, program string, log zerolog.Logger) (*Traces, error) {
	if !tracing() {
		return &Traces{TracerProvider: noop.NewTracerProvider()}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", withoutURL(err))
	}
	// What the environment says of the resource comes last and counts. Nothing
	// is taken from the process: its arguments are not for the collector.
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", program), attribute.String("service.version", Version())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	complaints := log.Sample(&zerolog.BurstSampler{Burst: 1, Period: traceComplaintPeriod})
	// OpenTelemetry has one such handler for the process; without it, errors
	// would go to the standard library's log.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		complaints.Warn().Err(withoutURL(err)).Msg("spans are lost: the collector of OTEL_EXPORTER_OTLP_ENDPOINT does not take them")
	}))
	sdk := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
	return &Traces{TracerProvider: sdk, sdk: sdk}, nil
}

// tracing says whether the environment asks for traces.
func tracing() bool {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// Stop sends what was not sent yet, for five seconds at most. ctx may have
// ended.
func (t *Traces) Stop(ctx context.Context) {
	if t.sdk == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceStopTimeout)
	defer cancel()
	if err := t.sdk.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// withoutURL takes off net/http's wrapping: the URL may hold a password.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// traceparent is W3C's name for the header that carries a trace on.
const traceparent = "traceparent"

// Traceparent returns the span in ctx in W3C's form, so that another process
// can go on with its trace; empty if the span is not recorded.
func Traceparent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}

// Remote reads what [Traceparent] wrote. Anything else gives a context that is
// not valid.
func Remote(text string) trace.SpanContext {
	if text == "" {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{traceparent: text}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}
