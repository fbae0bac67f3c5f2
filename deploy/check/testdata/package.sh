# package.sh ROOT PACKAGE WORK: the life of the package on a Debian, a layer over
# whose root folder takes all changes. Runs what the units say, as their users.
set -euo pipefail
shopt -s nullglob
lower=$1 package=$2 work=$3

step() { echo "--- $*"; }
fail() { echo "FAILED: $*"; exit 1; }
# until_true COMMAND...: within ten seconds.
until_true() {
	local tries
	for tries in $(seq 200); do
		if "$@" > /dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	fail "never true: $*"
}

ip link set lo up
mount --make-rprivate /
mount -t tmpfs none "$work"
mkdir "$work"/{upper,scratch,debian,older}
mount -t overlay none -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/scratch" "$work/debian"
debian=$work/debian
mount -t proc none "$debian/proc"
mount --rbind /dev "$debian/dev"
mount -t tmpfs none "$debian/run"

# The version before: another number, and a program and a setting of its own.
dpkg-deb -R "$package" "$work/older"
sed -i 's/^Version: .*/Version: 0.0.1/' "$work/older/DEBIAN/control"
printf '#!/bin/sh\necho older\n' > "$work/older/usr/bin/spillway"
(cd "$work/older" && find usr etc -type f -exec md5sum {} + > DEBIAN/md5sums)
dpkg-deb -Znone -b "$work/older" "$debian/older.deb" > /dev/null
cp "$package" "$debian/newer.deb"
in_debian() { chroot "$debian" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

step install
in_debian dpkg -i older.deb
[ "$(in_debian spillway)" = older ] || fail "the older version is not there"
[ "$(in_debian stat -c %U:%G:%a /etc/spillway/secrets)" = root:spillway:750 ] || fail "who may read the secrets?"
for secret in crm_token search_key; do
	[ -e "$debian/etc/spillway/secrets/$secret" ] && [ ! -s "$debian/etc/spillway/secrets/$secret" ] || fail "no empty file $secret"
done

step "write settings, keep them over an upgrade"
cat >> "$debian/etc/spillway/env" <<-'END'
	SPILLWAY_CRM_URL=https://app.account.thepulsespot.com
	SPILLWAY_SITE_URL=https://www.example.com
	SPILLWAY_SITE_USER=spillway
END
printf 'abcdefgh12' > "$debian/etc/spillway/secrets/access_keys"
printf 'token' > "$debian/etc/spillway/secrets/crm_token"
printf 'password' > "$debian/etc/spillway/secrets/site_app_password"
before=$(cat "$debian"/etc/spillway/env "$debian"/etc/spillway/secrets/*)
in_debian dpkg -i newer.deb
[ "$(cat "$debian"/etc/spillway/env "$debian"/etc/spillway/secrets/*)" = "$before" ] || fail "the upgrade changed settings"
grep -q 0.0.2 <<< "$(in_debian spillway version)" || fail "the newer version is not there"

# start UNIT USER [INSTANCE]: what systemd would do of the unit, as far as it
# concerns folders, credentials, environment and user.
declare -A pids
start() {
	local unit=$debian/usr/lib/systemd/system/$1 user=$2 instance=${3:-} line name variables=()
	local credentials=/run/credentials/$1 group
	group=$(sed -n 's/^\(Group\|SupplementaryGroups\)=//p' "$unit" | head -n 1)
	expand() { sed -e "s|%t|/run|g; s|%d|$credentials|g; s|%i|$instance|g; s|\$MAINPID|0|g"; }
	for name in $(sed -n 's/^RuntimeDirectory=//p' "$unit"); do
		mkdir -p "$debian/run/$name"
		in_debian chown "$user:$group" "/run/$name"
		chmod "$(sed -n 's/^RuntimeDirectoryMode=//p' "$unit")" "$debian/run/$name"
	done
	for name in $(sed -n 's/^StateDirectory=//p' "$unit"); do
		mkdir -p "$debian/var/lib/$name"
		in_debian chown -R "$user:$group" "/var/lib/$name"
	done
	mkdir -p "$debian$credentials"
	while IFS=: read -r name path; do
		in_debian install -m 0400 -o "$user" "$path" "$credentials/$name"
	done < <(sed -n 's/^LoadCredential=//p' "$unit")
	chmod 0500 "$debian$credentials" && in_debian chown "$user" "$credentials"
	while read -r line; do
		# shellcheck disable=SC2086
		in_debian $line
	done < <(sed -n 's/^ExecStartPre=+//p' "$unit" | expand)
	while read -r line; do variables+=("$line"); done < <(sed -n 's/^Environment=//p' "$unit" | expand)
	if grep -q ^EnvironmentFile= "$unit"; then
		while read -r line; do variables+=("$line"); done < <(grep -v '^#' "$debian/etc/spillway/env" | grep =)
	fi
	line=$(sed -n 's/^ExecStart=//p' "$unit" | expand)
	# shellcheck disable=SC2086
	chroot --userspec="$user:$group" "$debian" env -i "${variables[@]}" $line > "$work/$1.log" 2>&1 &
	pids[$1]=$!
}

step run
until_redis() { in_debian redis-cli -s /run/spillway-redis/redis.sock ping | grep -q PONG; }
start spillway-redis.service redis
until_true until_redis
for setting in appendonly:yes appendfsync:always maxmemory-policy:noeviction port:0 dir:/var/lib/spillway-redis; do
	in_debian redis-cli -s /run/spillway-redis/redis.sock config get "${setting%%:*}" | grep -qx "${setting#*:}" || fail "Redis: $setting"
done
start spillway-ingest.service 61184
start spillway-worker@.service 61185 8082
until_true curl -sf http://127.0.0.1:8081/healthz
until_true curl -sf http://127.0.0.1:8082/healthz
awk 'NR > 1 && $4 == "0A" && $2 !~ /^0100007F:/' /proc/net/tcp | grep -q . && fail "listens to the world"
answer=$(curl -s "http://127.0.0.1:8080/?wpf_action=update&contact_id=7&access_key=abcdefgh12")
grep -q '"queued"' <<< "$answer" || fail "a webhook was answered: $answer"

# waits ID: the contact has outstanding work.
waits() {
	local shown
	shown=$(in_debian spillway contact "$1") && grep -q '^state *\(pending\|active\|retrying\)' <<< "$shown" || fail "contact $1: $shown"
}

step "the operator's commands, as root, as a member of the group, and as nobody"
waits 7
in_debian sh -c 'cd /; spillway parked' || fail "parked"
chroot --userspec=nobody:spillway "$debian" /usr/bin/spillway pause || fail "the group's command"
in_debian spillway resume
refused=$(chroot --userspec=nobody:nogroup "$debian" /usr/bin/spillway parked 2>&1) && fail "anybody may ask"
grep -q "group spillway" <<< "$refused" || fail "refused with: $refused"
printf '8\n9\n' > "$debian/list"
in_debian spillway resync --file /list --no-wait
in_debian spillway doctor > "$work/doctor.log" 2>&1 || true
grep -q "token is missing" "$work/doctor.log" && fail "the doctor has no secrets"

step "the site's object cache is flushed; nothing is lost"
in_debian redis-server --port 6379 --save '' --daemonize yes > /dev/null
until_true in_debian redis-cli -p 6379 flushall
waits 7

step "a restart of Redis; nothing is lost"
kill -9 "${pids[spillway-redis.service]}"
wait "${pids[spillway-redis.service]}" 2> /dev/null || true
start spillway-redis.service redis
until_true until_redis
waits 7

step stop
for unit in spillway-ingest.service spillway-worker@.service spillway-redis.service; do
	kill -TERM "${pids[$unit]}"
	wait "${pids[$unit]}" || fail "$unit ended with $?: $(cat "$work/$unit.log")"
done

step "remove: settings and data stay"
in_debian dpkg -r spillway
[ ! -e "$debian/usr/lib/spillway/ingest" ] && [ ! -e "$debian/usr/lib/systemd/system/spillway-ingest.service" ] || fail "programs are left"
[ "$(cat "$debian"/etc/spillway/env "$debian"/etc/spillway/secrets/*)" = "$before" ] || fail "settings are gone"
compgen -G "$debian/var/lib/spillway-redis/appendonlydir/*" > /dev/null || fail "Redis's data are gone"

step "purge: nothing stays"
in_debian dpkg -P spillway
[ ! -e "$debian/etc/spillway" ] && [ ! -e "$debian/var/lib/spillway-redis" ] && [ ! -e "$debian/var/lib/spillway" ] || fail "something is left"
