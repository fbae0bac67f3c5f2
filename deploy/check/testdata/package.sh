# package.sh ROOT PACKAGE STANDINS WORK: the life of the package on a Debian, a
# layer over whose root folder takes all changes. Does what docs/deploy.md says, and
# runs what the units say, as their users. STANDINS is the program that serves the
# stand-in CRM and site.
set -euo pipefail
shopt -s nullglob
lower=$1 package=$2 standins=$3 work=$4
crm=127.0.0.1:9001 site=127.0.0.1:9002

step() { echo "--- $*"; }
fail() { echo "FAILED: $*"; exit 1; }
# until_true COMMAND...: within ten seconds.
until_true() {
	local tries
	for tries in $(seq 200); do
		if "$@" > /dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	fail "never true: $*: $(tail -n 5 "$work"/*.log)"
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

"$standins" "$crm" "$site" > "$work/standins.log" 2>&1 &
until_true curl -sf "http://$site/control/stats"
# contact ID: the CRM has a contact.
contact() {
	curl -sf -X PUT "http://$crm/control/contacts/$1" -d "{\"email\":\"c$1@example.org\",\"first_name\":\"C\",\"last_name\":\"$1\",\"wp_password\":\"\",\"tags\":[5]}" > /dev/null
}
# field JSON-NAME: of the text at the input.
field() { sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p'; }

step "write settings, keep them over an upgrade"
secret=$(curl -sf -X POST "http://$site/control/code" | field code | cut -d. -f2 | base64 -d 2> /dev/null | field secret) || true
password=$(curl -sf -X POST "http://$site/wp-json/spillway/v1/connect" -d "{\"secret\":\"$secret\"}" | field password)
[ -n "$password" ] || fail "the site gave no application password"
cat >> "$debian/etc/spillway/env" <<-END
	SPILLWAY_CRM_URL=http://$crm
	SPILLWAY_SITE_URL=http://$site
	SPILLWAY_SITE_USER=spillway
	SPILLWAY_RETURN_PASSWORD_FIELD=wp_password
END
secrets=/etc/spillway/secrets
in_debian sh -c "cd $secrets && openssl rand -hex 16 > access_keys && openssl rand -base64 32 > secret_key"
printf '%s\n' "$password" > "$debian$secrets/site_app_password"
printf 'token\n' > "$debian$secrets/crm_token"
key=$(cat "$debian$secrets/access_keys")
settings() { cat "$debian"/etc/spillway/env "$debian$secrets"/* $(find "$debian/etc/spillway/sites" -type f); }
before=$(settings)
in_debian dpkg -i newer.deb
[ "$(settings)" = "$before" ] || fail "the upgrade changed settings"
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

# restarts UNIT: the process has ended, with $code, and systemd would start it
# again.
restarts() {
	local unit=$debian/usr/lib/systemd/system/$1 prevented
	code=0
	wait "${pids[$1]}" 2> /dev/null || code=$?
	grep -qx Restart=always "$unit" && grep -qx StartLimitIntervalSec=0 "$unit" || fail "$1 is not always started again"
	for prevented in $(sed -n 's/^RestartPreventExitStatus=//p' "$unit"); do
		[ "$code" != "$prevented" ] || return 1
	done
}

step run
until_redis() { in_debian redis-cli -s /run/spillway-redis/redis.sock ping | grep -q PONG; }
start spillway-redis.service redis
until_true until_redis
for setting in appendonly:yes appendfsync:always maxmemory-policy:noeviction port:0 dir:/var/lib/spillway-redis; do
	in_debian redis-cli -s /run/spillway-redis/redis.sock config get "${setting%%:*}" | grep -qx "${setting#*:}" || fail "Redis: $setting"
done
contact 7
in_debian spillway doctor > "$work/doctor.log" || true
[ "$(sed -n 's/^fail  \([^ ]*\) .*/\1/p' "$work/doctor.log")" = workers ] || fail "the doctor before the start: $(cat "$work/doctor.log")"
ingest=61184 worker=61185
start_all() {
	start spillway-ingest.service $ingest
	start spillway-worker@.service $worker 8082
	until_true curl -sf http://127.0.0.1:8081/readyz
	until_true curl -sf http://127.0.0.1:8082/readyz
}
start_all
awk 'NR > 1 && $4 == "0A" && $2 !~ /^0100007F:/' /proc/net/tcp | grep -q . && fail "listens to the world"
hook() { curl -s "http://127.0.0.1:8080/?wpf_action=$1&contact_id=$2&access_key=$key&wait=$3"; }

step "a webhook is synced, and its password is in the CRM"
answer=$(hook add 7 20)
grep -q '"status":"synced".*"password_returned":true' <<< "$answer" || fail "the webhook was answered: $answer; $(cat "$work"/spillway-*.log)"
is_user() { curl -s "http://$site/control/users?contact=$1" | grep -qi "c$1@example.org"; }
is_user 7 || fail "the site has no user for contact 7"

# by WHO COMMAND...: the operator's command, as root or as a member of the group.
by() {
	local who=$1
	shift
	if [ "$who" = root ]; then in_debian spillway "$@"; else
		chroot --userspec=nobody:spillway "$debian" env -i PATH=/usr/bin:/bin HOME=/nonexistent spillway "$@"
	fi
}
step "the operator's commands, as root, as a member of the group, and as nobody"
printf '7\n' > "$debian/list"
for who in root group; do
	while read -r command; do
		# shellcheck disable=SC2086
		by $who $command > "$work/said" 2>&1 || fail "$who: spillway $command ended with $?: $(tail "$work/said")"
	done <<-'END'
		doctor
		contact 7
		sync 7 --wait
		resync --file /list
		resync --all-tagged
		reconcile --grace 200ms
		parked
		parked retry --all
		parked drop --all --yes
		creations
		creations allow
		creations drop --yes
		observe
		sites
		pause
		resume
		keys
		env
		plugin --output -
		completion bash
		version
	END
	by $who relay > "$work/said" 2>&1 && fail "$who: spillway relay prints what only a site in mode relay needs"
	grep -q 'no site is in mode relay' "$work/said" || fail "$who: spillway relay says: $(cat "$work/said")"
done
[ "$(in_debian find /var/lib/spillway -mindepth 1 -type d -printf '%f %g %m\n' | sort)" = "$(printf 'reconcile spillway 2770\nresync spillway 2770')" ] ||
	fail "where are the journals? $(in_debian find /var/lib/spillway -ls)"
listed=$(in_debian spillway --help | sed -n 's/^  \([a-z]\+\) .*/\1/p' | sort -u)
for command in $listed; do
	grep -qx "$command" <<< "$(printf '%s\n' run connect doctor contact sync resync reconcile observe parked creations sites relay pause resume keys env plugin completion version)" ||
		fail "is the command $command tried here?"
done
refused=$(chroot --userspec=nobody:nogroup "$debian" /usr/bin/spillway parked 2>&1) && fail "anybody may ask"
grep -q "group spillway" <<< "$refused" || fail "refused with: $refused"
# What root began and lost, one of the group goes on with.
in_debian spillway pause > /dev/null
in_debian timeout -s KILL 2 spillway resync --file /list > /dev/null 2>&1 || true
in_debian spillway resume > /dev/null
grep -q "Going on" <<< "$(by group resync --file /list 2>&1)" || fail "the group does not find root's journal"

# waits ID: the contact has outstanding work.
waits() {
	local shown
	shown=$(in_debian spillway contact "$1") && grep -q '^state *\(pending\|active\|retrying\)' <<< "$shown" || fail "contact $1: $shown"
}

step "the site's object cache is flushed, and Redis is killed; nothing is lost"
in_debian redis-server --port 6379 --save '' --daemonize yes > /dev/null
until_true in_debian redis-cli -p 6379 set wp:options cached
in_debian spillway pause > /dev/null
for id in 8 9; do
	contact $id
	grep -q '"queued"' <<< "$(hook add $id 0)" || fail "contact $id was not queued"
done
[ "$(in_debian redis-cli -p 6379 flushall)" = OK ] || fail "no flush"
waits 8
kill -9 "${pids[spillway-redis.service]}"
restarts spillway-redis.service
start spillway-redis.service redis
until_true until_redis
waits 9
in_debian spillway resume > /dev/null
until_true is_user 8
until_true is_user 9

step "a panic is started again, wrong settings are not"
for unit in spillway-ingest.service spillway-worker@.service; do
	kill -QUIT "${pids[$unit]}" # Go's runtime ends as after a panic, with 2
	restarts $unit && [ $code = 2 ] || fail "$unit stays down after a panic, which ended with $code"
done
start_all
contact 10
grep -q '"status":"synced"' <<< "$(hook add 10 20)" || fail "no sync after a panic"
kill -TERM "${pids[spillway-ingest.service]}"
wait "${pids[spillway-ingest.service]}" || fail "ingest ended with $?"
printf 'short' > "$debian$secrets/access_keys"
start spillway-ingest.service $ingest
restarts spillway-ingest.service && fail "wrong settings are started again and again, after $code"
grep -q SPILLWAY_ACCESS_KEYS "$work/spillway-ingest.service.log" || fail "not said what is wrong"

step "from one site to several, by connect"
kill -TERM "${pids[spillway-worker@.service]}"
wait "${pids[spillway-worker@.service]}" || fail "the worker ended with $?"
sed -i -e '/^SPILLWAY_\(CRM\|SITE\|RETURN\)_/d' -e 's/^#SPILLWAY_SITES=/SPILLWAY_SITES=/' "$debian/etc/spillway/env"
for name in access_keys site_app_password crm_token; do : > "$debian$secrets/$name"; done
code=$(curl -sf -X POST "http://$site/control/code" | field code)
printf '%s\n' "$code" | in_debian spillway connect - --site shop > "$work/connect.log" 2>&1 || [ $? = 3 ] || fail "connect: $(cat "$work/connect.log")"
grep -q "$code" "$work/connect.log" && fail "connect shows the code"
[ "$(in_debian stat -c %U:%G:%a /etc/spillway/sites/shop.env)" = root:spillway:640 ] || fail "who may read the site's file?"
printf 'SPILLWAY_CRM_URL=http://%s\nSPILLWAY_CRM_TOKEN=token\nSPILLWAY_RETURN_PASSWORD_FIELD=wp_password\n' "$crm" >> "$debian/etc/spillway/sites/shop.env"
key=$(sed -n 's/^SPILLWAY_ACCESS_KEYS=//p' "$debian/etc/spillway/sites/shop.env")
start_all
contact 11
answer=$(hook add 11 20)
grep -q '"status":"synced"' <<< "$answer" || fail "after connect: $answer; $(cat "$work/connect.log" "$work"/spillway-*.log)"
for who in root group; do
	said=$(by $who doctor --site shop 2>&1) || fail "the doctor: $said"
	grep -q '^state *idle' <<< "$(by $who contact 11 2>&1)" || fail "$who finds no site"
done
before=$(settings)

step stop
for unit in spillway-ingest.service spillway-worker@.service spillway-redis.service; do
	kill -TERM "${pids[$unit]}"
	wait "${pids[$unit]}" || fail "$unit ended with $?: $(cat "$work/$unit.log")"
done

step "remove: settings and data stay"
in_debian dpkg -r spillway
[ ! -e "$debian/usr/lib/spillway/ingest" ] && [ ! -e "$debian/usr/lib/systemd/system/spillway-ingest.service" ] || fail "programs are left"
[ "$(settings)" = "$before" ] || fail "settings are gone"
compgen -G "$debian/var/lib/spillway-redis/appendonlydir/*" > /dev/null || fail "Redis's data are gone"

step "purge: nothing stays"
in_debian dpkg -P spillway
[ ! -e "$debian/etc/spillway" ] && [ ! -e "$debian/var/lib/spillway-redis" ] && [ ! -e "$debian/var/lib/spillway" ] || fail "something is left"
