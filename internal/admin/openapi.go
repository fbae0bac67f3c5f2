package admin

import _ "embed"

// openAPI describes the API for programs; a test compares it with the routes.
//
//go:embed openapi.json
var openAPI []byte
