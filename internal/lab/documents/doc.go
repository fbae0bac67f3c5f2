// Package documents tests what is written for people: that links and anchors of
// the Markdown files lead somewhere, that the README stays one for a first
// visit, that a figure has one source, and that all places state one version.
// It has tests only.
package documents
