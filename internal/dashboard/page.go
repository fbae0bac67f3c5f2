package dashboard

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

//go:embed page.html
var pageText string

func parsePage() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"ago": func(t time.Time) string { return time.Since(t).Round(time.Second).String() },
	}).Parse(pageText))
}

// page shows the counters and the parked contacts.
func (d *dashboard) page(c echo.Context) error {
	ctx := c.Request().Context()
	stats, err := d.Contacts.Stats(ctx)
	if err != nil {
		return d.unavailable(c, err)
	}
	parked, err := d.Contacts.ListParked(ctx, 0, 50)
	if err != nil {
		return d.unavailable(c, err)
	}
	var body bytes.Buffer
	if err := d.template.Execute(&body, map[string]any{"Stats": stats, "Parked": parked, "More": stats.Parked - int64(len(parked))}); err != nil {
		return err
	}
	return c.HTMLBlob(http.StatusOK, body.Bytes())
}
