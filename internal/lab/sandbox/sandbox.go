// Package sandbox holds a stand-in CRM and a stand-in site, for the first run,
// tests and benchmarks, and a sender of webhooks that behaves as the CRM does.
//
// Guarantees: [CRM] answers the calls of PulseTechnologyCRM's API as its
// WordPress integration knows them: paged lists, ids that are numbers here and
// texts there, OAuth with refresh tokens that work once, limits. [Site] keeps
// every sentence of the connector's protocol and passes its contract suite; its
// requests take time and stand in line for a fixed number of workers, as PHP's
// do. Both spoil calls on demand, see [Fault].
//
// Limits: all state is in memory and gone with the process. Time spent is slept,
// so that a request costs a worker but no processor. The routes below /control/
// change everything without a password and therefore answer this machine alone.
// Passwords are kept as they are. Nothing here is fit for real contacts.
package sandbox
