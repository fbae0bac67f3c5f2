package pending

import (
	"strconv"
	"strings"
	"time"

	"spillway/internal/contact"
)

// ring is how many of a contact's latest webhooks its record remembers, in the
// fields w0 to w7, each overwritten by the eighth webhook after it. A value is
// "GEN MS ACTION REQUEST_ID". Each stays below the 64 bytes at which Redis would
// give up the compact form of the record.
const ring = 8

// receiptLua returns the field and the value that remember a webhook. stamp is
// now as text: Lua is slow at writing numbers.
const receiptLua = `
local stamp = tostring(now)
local ring = {` + ringLua + `}
local function receipt(gen, rank, id)
  return ring[gen % 8 + 1], gen .. ' ' .. stamp .. ' ' .. rank .. ' ' .. id
end
`

// ringLua names the fields of the ring to HMGET.
const ringLua = `'w0', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7'`

// receipts reads the ring: the webhooks after the one numbered covered, up to
// the one numbered gen, the newest last; and the request id of the newest of
// all, covered or not.
func receipts(values []string, covered, gen int64) (list []contact.Receipt, newest string) {
	found := make(map[int64]contact.Receipt, len(values))
	last := int64(0)
	for _, value := range values {
		parts := strings.SplitN(value, " ", 4)
		if len(parts) != 4 {
			continue
		}
		number, err := strconv.ParseInt(parts[0], 10, 64)
		if err != nil || number > gen {
			continue
		}
		ms, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			continue
		}
		rank, _ := strconv.Atoi(parts[2])
		found[number] = contact.Receipt{At: time.UnixMilli(ms).UTC(), Action: contact.Action(rank), RequestID: parts[3]}
		last = max(last, number)
	}
	for number := max(covered, gen-ring) + 1; number <= gen; number++ {
		if receipt, ok := found[number]; ok {
			list = append(list, receipt)
		}
	}
	return list, found[last].RequestID
}
