package history

import "context"

// Round looks once and makes room.
func (k *Keeper) Round(ctx context.Context) error { return k.round(ctx) }
