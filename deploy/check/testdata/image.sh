# image.sh PROGRAMS STANDINS WORK: the image's root folder as the Dockerfile's last stage
# makes it, run read-only as its user, without an engine. STANDINS is the program
# that serves the stand-in CRM and site.
set -euo pipefail
programs=$1 standins=$2 work=$3

fail() { echo "FAILED: $*"; exit 1; }
until_true() {
	local tries
	for tries in $(seq 200); do
		if "$@" > /dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	fail "never true: $*: $(cat "$work"/*.log)"
}

ip link set lo up
mount --make-rprivate /
mount -t tmpfs none "$work"
root=$work/root
mkdir -p "$root"/etc/ssl/certs "$root"/var/lib/spillway "$root"/run/secrets
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp "$programs"/* "$root/"
printf abcdefgh12 > "$root/run/secrets/access_keys"
printf token > "$root/run/secrets/crm_token"
printf 0123456789 > "$root/run/secrets/admin_password"
: > "$root/run/secrets/search_key"
chown -R 65534:65534 "$root/var/lib/spillway" "$root/run/secrets"
chmod 0400 "$root"/run/secrets/*

for program in ingest worker spillway; do
	file=$(LC_ALL=C readelf -d "$root/$program" 2>&1) || true
	grep -q NEEDED <<< "$file" && fail "$program is not static"
done
[ -z "$(find "$root" -name 'sh' -o -name 'bash' -o -name 'busybox')" ] || fail "a shell is in the image"

"$standins" 127.0.0.1:9001 127.0.0.1:9002 > "$work/standins.log" 2>&1 &
until_true curl -sf http://127.0.0.1:9002/control/stats
field() { sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p'; }
secret=$(curl -sf -X POST http://127.0.0.1:9002/control/code | field code | cut -d. -f2 | base64 -d 2> /dev/null | field secret) || true
curl -sf -X POST http://127.0.0.1:9002/wp-json/spillway/v1/connect -d "{\"secret\":\"$secret\"}" | field password > "$root/run/secrets/site_app_password"
chown 65534:65534 "$root"/run/secrets/*
chmod 0400 "$root"/run/secrets/*
curl -sf -X PUT http://127.0.0.1:9001/control/contacts/7 -d '{"email":"c7@example.org","first_name":"C","last_name":"7","tags":[5]}' > /dev/null
printf '7\n' > "$root/list"

mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
in_image() { chroot --userspec=65534:65534 "$root" "$@"; }
touch "$root/x" 2> /dev/null && fail "the root is writable"

redis-server --port 6379 --appendonly yes --appendfsync always --maxmemory 512mb --maxmemory-policy noeviction --dir "$work" > "$work/redis.log" 2>&1 &
until_true bash -c 'redis-cli ping | grep -q PONG'
export SPILLWAY_REDIS_URL=redis://127.0.0.1:6379/0 SPILLWAY_CRM_URL=http://127.0.0.1:9001 SPILLWAY_SITE_URL=http://127.0.0.1:9002 SPILLWAY_SITE_USER=spillway
SPILLWAY_ADMIN_ADDR=:8081 SPILLWAY_ACCESS_KEYS_FILE=/run/secrets/access_keys SPILLWAY_ADMIN_PASSWORD_FILE=/run/secrets/admin_password \
	SPILLWAY_SEARCH_KEY_FILE=/run/secrets/search_key chroot --userspec=65534:65534 "$root" /ingest > "$work/ingest.log" 2>&1 &
ingest=$!
SPILLWAY_CRM_TOKEN_FILE=/run/secrets/crm_token SPILLWAY_SITE_APP_PASSWORD_FILE=/run/secrets/site_app_password \
	chroot --userspec=65534:65534 "$root" /worker > "$work/worker.log" 2>&1 &
worker=$!
until_true in_image /ingest health
until_true in_image /worker health
answer=$(curl -s "http://127.0.0.1:8080/?wpf_action=update&contact_id=7&access_key=abcdefgh12")
grep -q '"queued"' <<< "$answer" || fail "a webhook was answered: $answer"

# The service tools has these settings, and a volume; see compose.yaml.
mount -t tmpfs -o uid=65534,gid=65534 none "$root/var/lib/spillway"
export SPILLWAY_ACCESS_KEYS_FILE=/run/secrets/access_keys SPILLWAY_CRM_TOKEN_FILE=/run/secrets/crm_token \
	SPILLWAY_SITE_APP_PASSWORD_FILE=/run/secrets/site_app_password SPILLWAY_SEARCH_KEY_FILE=/run/secrets/search_key
while read -r command; do
	# shellcheck disable=SC2086
	in_image /spillway $command > "$work/said" 2>&1 || fail "/spillway $command ended with $?: $(cat "$work/said")"
done <<-'END'
	doctor
	contact 7
	sync 7 --action add --wait
	resync --file /list
	resync --all-tagged
	reconcile --grace 200ms
	parked
	creations
	pause
	resume
	keys
	env
	plugin --output -
	completion bash
	version
END
[ -d "$root/var/lib/spillway/resync" ] && [ -d "$root/var/lib/spillway/reconcile" ] || fail "no journals"
kill -TERM "$ingest" "$worker"
wait "$ingest" || fail "ingest ended with $?"
wait "$worker" || fail "worker ended with $?"
