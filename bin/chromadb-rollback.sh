#!/usr/bin/env bash
# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Snapshots and rollback of a Chroma database from the command line. Every command is a thin front over a playbook of the
# collection infrafabric.chromadb; `chromadb-rollback.sh help` says which.
# It is one file, so that a command for somebody in trouble sources nothing that could be missing.

set -euo pipefail

EXIT_FAILED=1 EXIT_USAGE=2 EXIT_UNREACHABLE=3 EXIT_INTEGRITY=4 EXIT_CANCELLED=5 EXIT_REFUSED=6 EXIT_DISK=7 EXIT_LOCKED=8 EXIT_DRIFT=9
INTERRUPTED=130 INTERRUPTED_ANSIBLE=99

self=$(readlink -f -- "${BASH_SOURCE[0]}")
collection=$(dirname -- "$(dirname -- "$self")")
program=${0##*/}

main() {
  local command=help
  [ $# -eq 0 ] || { command=$1; shift; }
  case $command in
    snapshot) snapshot_command "$@" ;;
    rollback) rollback_command "$@" ;;
    status) plain_command status status "$@" ;;
    audit-log) audit_log_command "$@" ;;
    validate) validate_command "$@" ;;
    health-check) plain_command health-check health "$@" ;;
    cleanup) cleanup_command "$@" ;;
    help | -h | --help) show_help "${1:-}" ;;
    *) usage_error "There is no command '$command'." ;;
  esac
}

# --- Help ---------------------------------------------------------------------------------------------------------

show_help() {
  case $1 in
    "") help_overview ;;
    snapshot) help_snapshot ;;
    rollback) help_rollback ;;
    cleanup) help_cleanup ;;
    audit-log) help_audit_log ;;
    status) help_of status status "what is where: the server, its collections, the newest snapshots, what was done last" ;;
    health-check) help_of health-check health "asks the server whether it is well and takes writes, and what it holds; fails if it does not answer" ;;
    validate) help_of validate check_setup "checks that everything is set up: Ansible, the collection, the libraries, the store, the server" ;;
    *) usage_error "There is no command '$1'." ;;
  esac
}

help_overview() {
  cat << HELP
$program: snapshots and rollback of a Chroma database

  snapshot create [--name NAME]     take a verified snapshot                     (playbook infrafabric.chromadb.snapshot)
  snapshot list                     the snapshots, newest first                  (snapshot_list)
  snapshot verify [ID]              read every byte of one snapshot, or of all   (snapshot_verify)
  snapshot info ID                  what a snapshot is and holds                 (snapshot_info)
  snapshot cleanup                  remove the ones that are old enough          (snapshot_prune)
  rollback ID                       go back to a snapshot, or to latest          (rollback)
  status                            what is where                                (status)
  audit-log [--entries N]           who did what                                 (audit_log)
  validate                          is everything set up?                        (check_setup)
  health-check                      is the server well?                          (health)
  cleanup                           the same as snapshot cleanup
  help [COMMAND]                    this text, or more about one command

Options of every command
  -i, --inventory FILE   work on the hosts of this inventory (groups chromadb_source and chromadb_target) instead of this machine
  -l, --limit HOSTS      of these, only some
  -y, --yes              do not ask before something is changed or removed

Environment, without an inventory
  CHROMADB_URL           the server, http://localhost:8000 if it is not set
  CHROMADB_TOKEN         its token, if it needs one
  CHROMADB_TENANT, CHROMADB_DATABASE
  SNAPSHOT_DIR           where the snapshots are, /var/lib/chromadb/snapshots if it is not set
With an inventory, all of that is in its variables. NO_COLOR turns colours off.

Exit codes
  0  it worked                               5  not confirmed, nothing was done
  1  it failed                               6  the server refuses the credentials, or its certificate is not trusted
  2  the command or an option is wrong       7  a directory is missing, full, or must not be written
  3  a server or a host does not answer      8  another operation is at work, or the server is held read-only
  4  a snapshot or the audit log is damaged  9  the data moved, or what clients wrote would be lost
Several hosts that failed for different reasons: 1. Interrupted: 130.
HELP
}

help_snapshot() {
  cat << HELP
$program snapshot create [--name NAME] [--collections A,B]
  Saves all records, embeddings included, reads the archive back, and removes snapshots that are old enough.
  A snapshot whose name exists and verifies is not taken again; without a name, every run takes one.
$program snapshot list
$program snapshot verify [ID]
  Reads every byte of the snapshot (of all snapshots without an ID) and compares every checksum. Exit code 4 if one is damaged.
$program snapshot info ID
  Where it is, what server it is of, its collections and checksums. Needs no server, as list and verify do not.
$program snapshot cleanup [--retention-days N] [--dry-run] [--yes]
HELP
}

help_rollback() {
  cat << HELP
$program rollback ID [--partial --collections A,B] [--dry-run] [--reason TEXT] [--discard-new-writes] [--yes]
$program rollback --point-in-time 2026-01-02T03:00:00+00:00 [...]
  Verifies the snapshot, saves the database as it is, writes what differs, and compares again. ID may be latest.

  --dry-run               say what would be changed in each collection, and change nothing
  --partial --collections A,B
                          only these collections; others stay as they are, those that the snapshot does not have too
  --point-in-time TIME    the newest snapshot that is not younger than this, in ISO 8601 with its offset
  --reason TEXT           why, for the audit log
  --discard-new-writes    after a cutover: take away what clients wrote since. It is saved in a snapshot first.
  --yes                   do not ask

  With an inventory, clients that a cutover has moved are brought back first.
HELP
}

help_cleanup() {
  cat << HELP
$program cleanup [--retention-days N] [--dry-run] [--yes]
  Removes the snapshots that are older than they must be kept: each for as long as was said when it was taken (7 days, or
  chromadb_retention_days of the inventory), or all of them for N days. The newest good one of each server stays, what others are
  based on stays, and so does the way back of a migration that is under way.
HELP
}

help_audit_log() {
  cat << HELP
$program audit-log [--entries N]
  The last N entries (20) of the audit log, newest last. Exit code 4 if somebody changed the log.
HELP
}

# help_of COMMAND PLAYBOOK SENTENCE
help_of() {
  printf '%s %s\n  %s. Playbook: infrafabric.chromadb.%s\n' "$program" "$1" "${3^}" "$2"
}

# --- Commands -----------------------------------------------------------------------------------------------------

snapshot_command() {
  local verb=${1:-}
  [ $# -eq 0 ] || shift
  case $verb in
    create) snapshot_create "$@" ;;
    list) plain_command snapshot snapshot_list "$@" ;;
    verify)
      read_arguments snapshot "" "$@"
      at_most_one_id
      [ ${#words[@]} -eq 0 ] || extra snapshot_id "${words[0]}"
      run_playbook snapshot_verify
      ;;
    info)
      read_arguments snapshot "" "$@"
      at_most_one_id
      [ ${#words[@]} -eq 1 ] || usage_error "Say which snapshot: $program snapshot info ID. '$program snapshot list' shows them."
      extra snapshot_id "${words[0]}"
      run_playbook snapshot_info
      ;;
    cleanup) cleanup_command "$@" ;;
    "" | help | -h | --help) show_help snapshot ;;
    *) usage_error "There is no command 'snapshot $verb'." ;;
  esac
}

snapshot_create() {
  read_arguments snapshot "name collections" "$@"
  no_words
  [ -z "$name" ] || extra snapshot_name "$name"
  [ -z "$collections" ] || extra_list snapshot_collections "$collections"
  run_playbook snapshot
}

rollback_command() {
  read_arguments rollback "dry-run partial collections point-in-time reason discard-new-writes" "$@"
  at_most_one_id
  local what
  if [ -n "$point_in_time" ]; then
    [ ${#words[@]} -eq 0 ] || usage_error "Give the ID of a snapshot or --point-in-time, not both."
    extra rollback_point_in_time "$point_in_time"
    what="the newest snapshot at or before $point_in_time"
  else
    [ ${#words[@]} -eq 1 ] || usage_error "Say which snapshot: $program rollback ID. '$program snapshot list' shows them; latest is the newest."
    extra rollback_snapshot_id "${words[0]}"
    what=${words[0]}
  fi
  if $partial && [ -z "$collections" ]; then
    usage_error "--partial needs --collections A,B: which ones?"
  fi
  [ -z "$collections" ] || extra_list rollback_collections "$collections"
  ! $discard_new_writes || extra_true rollback_discard_new_writes
  # A free text: it travels in the environment, where nothing in it means anything.
  [ -z "$reason" ] || { export CHROMADB_REASON=$reason; variables+=('"rollback_reason": "{{ lookup('"'ansible.builtin.env', 'CHROMADB_REASON'"') }}"'); }
  if $dry_run; then
    say "Dry run: nothing is changed."
    run_playbook rollback --check
  else
    confirm "This brings $(place) back to $what (${collections:+only }${collections:-everything}). What is there now is saved first."
    run_playbook rollback
  fi
}

cleanup_command() {
  read_arguments cleanup "dry-run retention-days" "$@"
  no_words
  [ -z "$retention_days" ] || extra chromadb_retention_days "$retention_days"
  if $dry_run; then
    say "Dry run: nothing is removed."
    run_playbook snapshot_prune --check
  else
    confirm "This removes snapshots of $(store) for good${retention_days:+, those that are $retention_days days old}. --dry-run shows which."
    run_playbook snapshot_prune
  fi
}

audit_log_command() {
  read_arguments audit-log "entries" "$@"
  no_words
  [ -z "$entries" ] || extra audit_limit "$entries"
  run_playbook audit_log
}

validate_command() {
  read_arguments validate "" "$@"
  no_words
  require_ansible
  say "Ansible     $ansible ($("$ansible" --version | sed -n '1s/.*\[\(.*\)\]/\1/p'))"
  environment
  # Without --limit, which may name a host that is not there: that is for the playbook to say.
  if ! "$ansible" --syntax-check "${inventory_arguments[@]:0:2}" infrafabric.chromadb.check_setup > "$scratch/syntax" 2>&1; then
    fail $EXIT_FAILED "The collection infrafabric.chromadb was not found or cannot be read: $(tail -n 3 "$scratch/syntax")"
  fi
  say "Collection  $collection"
  say
  run_playbook check_setup
}

# plain_command COMMAND PLAYBOOK ARGUMENTS...: a command without options of its own
plain_command() {
  local command=$1 playbook=$2
  shift 2
  read_arguments "$command" "" "$@"
  no_words
  run_playbook "$playbook"
}

# --- Arguments ----------------------------------------------------------------------------------------------------

# read_arguments COMMAND "OPTIONS THAT IT TAKES" ARGUMENTS...: fills the variables below; what is no option goes to `words`.
read_arguments() {
  local command=$1 takes=" $2 " option value
  shift 2
  words=() inventory="" hosts="" yes=false
  name="" collections="" point_in_time="" reason="" retention_days="" entries=""
  dry_run=false partial=false discard_new_writes=false
  variables=()
  while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
      -h | --help) show_help "$command"; exit 0 ;;
      -y | --yes) yes=true; continue ;;
      --) words+=("$@"); break ;;
      -i) option=--inventory ;;
      -l) option=--limit ;;
      --*=*) set -- "${option#*=}" "$@"; option=${option%%=*} ;;
      -?*) ;;
      *) words+=("$option"); continue ;;
    esac
    case $option in
      --inventory | --limit) ;;
      *) [[ $takes == *" ${option#--} "* ]] || usage_error "$command has no option '$option'." "$command" ;;
    esac
    case $option in
      --dry-run) dry_run=true; continue ;;
      --partial) partial=true; continue ;;
      --discard-new-writes) discard_new_writes=true; continue ;;
    esac
    [ $# -gt 0 ] || usage_error "The option $option needs a value." "$command"
    value=$1
    shift
    case $option in
      --inventory) inventory=$value ;;
      --name) must_match name "$value" '^[A-Za-z0-9_-]{1,64}$' "1 to 64 letters, digits, '_' or '-'"; name=$value ;;
      --collections)
        must_match collections "$value" '^[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*$' "names with commas and no spaces between them"
        collections=$value
        ;;
      --point-in-time) must_match point-in-time "$value" '^[0-9TtZz:.+-]+$' "a time such as 2026-01-02T03:00:00+00:00"; point_in_time=$value ;;
      --retention-days) must_match retention-days "$value" '^[0-9]{1,6}$' "a number of days"; retention_days=$value ;;
      --reason) reason=$value ;;
      --limit) hosts=$value ;;
      --entries) must_match entries "$value" '^[1-9][0-9]{0,8}$' "a number from 1"; entries=$value ;;
    esac
  done
  [ -z "$inventory" ] || [ -e "$inventory" ] || [[ $inventory == *,* ]] || usage_error "There is no inventory $inventory."
  # Here, before it is shown to anybody. What it is is not repeated.
  local address='^[Hh][Tt][Tt][Pp][Ss]?://(\[[0-9A-Fa-f:.]+\]|[^]/:@?#[:space:][]+)(:[0-9]{1,5})?(/[^@?#[:space:]]*)?$'
  if [ -z "$inventory" ] && [ -n "${CHROMADB_URL:-}" ] && ! [[ $CHROMADB_URL =~ $address ]]; then
    usage_error "CHROMADB_URL must be an address like http://localhost:8000, without user, password or anything else. A token belongs into CHROMADB_TOKEN."
  fi
}

# must_match OPTION VALUE PATTERN WHAT
must_match() {
  [[ $2 =~ $3 ]] || usage_error "--$1 must be $4, not '$2'."
}

at_most_one_id() {
  [ ${#words[@]} -le 1 ] || usage_error "One snapshot at a time: ${words[*]}"
  [ ${#words[@]} -eq 0 ] || [[ ${words[0]} =~ ^[A-Za-z0-9_-]+$ ]] || usage_error "'${words[0]}' is no ID of a snapshot."
}

no_words() {
  [ ${#words[@]} -eq 0 ] || usage_error "Nothing is known about '${words[0]}'."
}

# Variables of the playbook, as members of a JSON object. The values were matched against patterns that allow no quote and no brace.
extra() { variables+=("\"$1\": \"$2\""); }
extra_true() { variables+=("\"$1\": true"); }
extra_list() { variables+=("\"$1\": [\"${2//,/\", \"}\"]"); }

# --- Running a playbook -------------------------------------------------------------------------------------------

require_ansible() {
  ansible=$collection/.venv/bin/ansible-playbook
  [ -x "$ansible" ] || ansible=$(command -v ansible-playbook) ||
    fail $EXIT_FAILED "ansible-playbook was not found. Install ansible-core 2.19 or later, or run 'make setup' in $collection."
}

# What Ansible has to know; and `scratch`, which lives as long as this script.
environment() {
  [ -z "${scratch:-}" ] || return 0
  scratch=$(mktemp -d)
  trap 'rm -rf -- "$scratch"' EXIT
  local own=$collection/.collections
  [[ $collection != */ansible_collections/infrafabric/chromadb ]] || own=${collection%/ansible_collections/infrafabric/chromadb}
  export ANSIBLE_COLLECTIONS_PATH=$own:${ANSIBLE_COLLECTIONS_PATH:-$HOME/.ansible/collections:/usr/share/ansible/collections}
  # No other callback: what is printed is for people who look at one operation, not at a runbook.
  export ANSIBLE_STDOUT_CALLBACK=infrafabric.chromadb.brief ANSIBLE_CALLBACKS_ENABLED=infrafabric.chromadb.brief
  export ANSIBLE_HOST_PATTERN_MISMATCH=ignore CHROMADB_FAILURES_FILE=$scratch/failures
  # Ansible refuses to work without UTF-8, as under cron.
  [[ ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} =~ [Uu][Tt][Ff]-?8 ]] || export LC_ALL=C.UTF-8
  inventory_arguments=(-i "${inventory:-$collection/inventories/local/hosts.yml}")
  [ -z "$hosts" ] || inventory_arguments+=(--limit "$hosts")
  # Ansible would take it from the directory of the playbook. What begins with ~ or $ is the host's to expand.
  [[ ${SNAPSHOT_DIR:-/} == [/~$]* ]] || export SNAPSHOT_DIR=$PWD/$SNAPSHOT_DIR
}

# run_playbook NAME ARGUMENTS...: ends this script with the exit code that the failures have in common.
run_playbook() {
  local playbook=$1 status=0 classes="" joined=""
  shift
  require_ansible
  environment
  if [ ${#variables[@]} -gt 0 ]; then
    joined=$(printf ', %s' "${variables[@]}")
    set -- -e "{${joined#, }}" "$@"
  fi
  "$ansible" "${inventory_arguments[@]}" "$@" "infrafabric.chromadb.$playbook" || status=$?
  [ ! -s "$CHROMADB_FAILURES_FILE" ] || classes=$(sort -u "$CHROMADB_FAILURES_FILE")
  [ $status -eq 0 ] || [ -n "$classes" ] || ! limited_to_nobody "$playbook" || classes=usage
  if [ $status -eq 0 ] && [ -z "$classes" ]; then
    exit 0
  fi
  [ $status -ne $INTERRUPTED_ANSIBLE ] || exit $INTERRUPTED
  exit "$(exit_code "$classes")"
}

# limited_to_nobody PLAYBOOK: Ansible ends before it calls a callback where --limit leaves it no host, and has no exit code of its own for that.
limited_to_nobody() {
  [ -n "$hosts" ] && [[ $("$ansible" "${inventory_arguments[@]}" --list-hosts "infrafabric.chromadb.$1" 2>&1) == *"no hosts to target"* ]]
}

# exit_code CLASSES: of one failure class; several different ones are just a failure.
exit_code() {
  case $1 in
    usage) echo $EXIT_USAGE ;;
    unreachable | timeout) echo $EXIT_UNREACHABLE ;;
    integrity | unsafe_archive) echo $EXIT_INTEGRITY ;;
    auth | tls) echo $EXIT_REFUSED ;;
    disk) echo $EXIT_DISK ;;
    lock) echo $EXIT_LOCKED ;;
    drift) echo $EXIT_DRIFT ;;
    *) echo $EXIT_FAILED ;;
  esac
}

# --- Talking to people --------------------------------------------------------------------------------------------

place() {
  if [ -n "$inventory" ]; then
    echo "the servers of $inventory${hosts:+ ($hosts)}"
  else
    echo "${CHROMADB_URL:-http://localhost:8000}"
  fi
}

store() {
  if [ -n "$inventory" ]; then
    echo "the hosts of $inventory${hosts:+ ($hosts)}"
  else
    echo "${SNAPSHOT_DIR:-/var/lib/chromadb/snapshots}"
  fi
}

# confirm SENTENCE: goes on only if somebody says yes.
confirm() {
  local answer=""
  ! $yes || return 0
  if [ ! -t 0 ]; then
    fail $EXIT_CANCELLED "$1 Nobody can be asked here, so nothing was done. Add --yes if it is meant."
  fi
  printf '%s\nGo on? [y/N] ' "$(in_colour 33 "$1")" >&2
  read -r answer || true
  case $answer in
    y | Y | yes | Yes | YES) ;;
    *) fail $EXIT_CANCELLED "Nothing was done." ;;
  esac
}

say() { printf '%s\n' "$*"; }

# in_colour NUMBER TEXT: for texts that go to standard error.
in_colour() {
  if [ -t 2 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    printf '\033[%sm%s\033[0m' "$1" "$2"
  else
    printf '%s' "$2"
  fi
}

# fail CODE SENTENCE
fail() {
  printf '%s\n' "$(in_colour 31 "$2")" >&2
  exit "$1"
}

# usage_error SENTENCE [COMMAND]
usage_error() {
  fail $EXIT_USAGE "$1 '$program help${2:+ $2}' says what there is."
}

main "$@"
