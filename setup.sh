#!/usr/bin/env bash
# Sets up, starts, tests and stops the forecast gateway. Needs Python 3.11+ and git, nothing else.
set -euo pipefail

CALLED_FROM=$PWD
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$ROOT"
VENV="$ROOT/.venv"
STAMP="$VENV/.forecast-setup"
KIND=run # of set-up; --light makes it light
LIVE_WAIT_S=60
READY_WAIT_S=120
STOP_WAIT_S=60

export FORECAST_HOME="${FORECAST_HOME:-$ROOT/.forecast}"
case "$FORECAST_HOME" in /*) ;; *) FORECAST_HOME="$CALLED_FROM/$FORECAST_HOME" ;; esac
export FORECAST_ADDRESS="${FORECAST_ADDRESS:-127.0.0.1}"
export FORECAST_PORT="${FORECAST_PORT:-8000}"
PID_FILE="$FORECAST_HOME/gateway.pid"
LOG="$FORECAST_HOME/gateway.log"

# The index of torch is an argument of ours, not a setting of the gateway.
TORCH_INDEX="${FORECAST_TORCH_INDEX:-}"
unset FORECAST_TORCH_INDEX

usage() {
  cat <<'HELP'
usage: ./setup.sh VERB [forecast] [options]

  run-venv forecast [api]   set up .venv, start the gateway, print its key and a call to paste
  run-venv forecast ui      the same, and the address of the interactive API page
  run-venv forecast all     both
  run-venv forecast --light the same, with the models that need no PyTorch: sprout and statistical;
                            in a minute and 500 MB
  init forecast             set up .venv and start nothing
  env NAME                  set up .venv-NAME as well, for models with an environment of their own
  test [pytest arguments]   set up the same way with the test tools, then check and test;
                            --slow tries everything, which takes an hour and not minutes
  demo                      forecast a sample series with every model that needs no download
  stop forecast             stop the gateway that run-venv or demo started
  run-docker forecast [models]
                            the gateway in a container; `models`: and one container per model
  --help                    this text

options
  --light                   of init and run-venv: without PyTorch and what needs it
  --torch-index URL|NAME    index that torch comes from, for a build with or without CUDA; the
                            "Get started" page of pytorch.org gives the URL for your machine. A
                            NAME such as cpu or cu126 is looked for under $FORECAST_TORCH_INDEX.
                            Without it, torch comes from where pip is configured to look.

environment
  FORECAST_PORT (8000), FORECAST_ADDRESS (127.0.0.1), FORECAST_HOME (./.forecast: key, log,
  cache), FORECAST_API_KEY (made and kept in FORECAST_HOME/api_key if not set),
  FORECAST_TORCH_INDEX (as --torch-index), PYTHON (the interpreter to make .venv with)
HELP
}

fail() {
  printf 'setup.sh: %s\n' "$*" >&2
  exit 1
}

# Python

python_version() { # prints major.minor; fails if it is no Python
  local version
  version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || return 1
  case "$version" in [0-9].[0-9] | [0-9].[0-9][0-9]) echo "$version" ;; *) return 1 ;; esac
}

is_new_enough() {
  local version
  version=$(python_version "$1") || return 1
  [ "${version%%.*}" -eq 3 ] && [ "${version#*.}" -ge 11 ]
}

find_python() {
  local candidate found=""
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    if is_new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
    found="${found:-$candidate is $(python_version "$candidate" || echo "not a Python")}"
  done
  fail "Python 3.11 or newer is needed, but ${found:-there is no python3 here}; install one," \
    "or name it: PYTHON=/path/to/python3 ./setup.sh"
}

any_python() { # the one of .venv if it works, else the system's
  if is_new_enough "$VENV/bin/python"; then echo "$VENV/bin/python"; else find_python; fi
}

# Set-up

fingerprint() { # changes when what is to be installed changes, or the folder moves
  { cat pyproject.toml lock.txt && echo "$ROOT"; } | cksum
}

is_set_up() { # KIND: light, run or test; each has all that the ones before it have
  local kinds kind
  case "$1" in light) kinds="light run test" ;; run) kinds="run test" ;; *) kinds=test ;; esac
  is_new_enough "$VENV/bin/python" && [ -x "$VENV/bin/forecast-gateway" ] || return 1
  [ -z "$TORCH_INDEX" ] || [ "$(cat "$STAMP-torch" 2>/dev/null)" = "$TORCH_INDEX" ] || return 1
  for kind in $kinds; do
    [ "$(cat "$STAMP-$kind" 2>/dev/null)" = "$(fingerprint)" ] && return
  done
  return 1
}

set_up() { # KIND
  local install="--extras models,mlflow,demo" time="some minutes" log="$FORECAST_HOME/setup.log"
  is_set_up "$1" && return
  case "$1" in
    light) install=--light time="a minute" ;;
    test) install="--extras test" ;;
  esac
  mkdir -p "$FORECAST_HOME"
  make_venv
  rm -f "$STAMP-light" "$STAMP-run" "$STAMP-test"
  echo "Installing into .venv; the first time takes $time (details: $log)"
  # shellcheck disable=SC2086 # several arguments
  "$VENV/bin/python" scripts/install --editable $install \
    ${TORCH_INDEX:+--torch-index "$TORCH_INDEX"} >"$log" 2>&1 || explain_pip "$log"
  fingerprint >"$STAMP-$1"
  [ -z "$TORCH_INDEX" ] || echo "$TORCH_INDEX" >"$STAMP-torch"
}

set_up_environment() { # NAME: what requirements/NAME.txt adds to .venv
  local log="$FORECAST_HOME/setup-$1.log" stamp="$ROOT/.venv-$1/.forecast-setup" now
  now=$(cat "requirements/$1.txt" lock.txt | cksum)
  [ -x "$ROOT/.venv-$1/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && return
  echo "Installing into .venv-$1 (details: $log)"
  "$VENV/bin/python" scripts/environment "$1" >"$log" 2>&1 || explain_pip "$log"
  echo "$now" >"$stamp"
}

set_up_environments() { # all at once: each waits for its downloads most of the time
  local name pids=()
  for name in $(environments); do
    set_up_environment "$name" &
    pids+=($!)
  done
  for name in ${pids[@]+"${pids[@]}"}; do wait "$name" || exit 1; done
}

environments() { # one name a line
  local file
  for file in requirements/*.txt; do
    [ -e "$file" ] && basename "$file" .txt
  done
}

make_venv() {
  local python
  is_new_enough "$VENV/bin/python" && return
  python=$(find_python) || exit 1
  "$python" -m venv --clear "$VENV" >/dev/null 2>&1 ||
    fail "$python cannot make a virtual environment; install its venv module" \
      "(on Debian and Ubuntu: the package python3-venv) and run this again"
}

explain_pip() { # LOG
  if grep -qiE "connection (error|refused|timed out)|NewConnectionError|name resolution|\
network is unreachable|ReadTimeout|ConnectTimeout|ProxyError|nodename nor servname|SSLError" "$1"; then
    fail "the package index cannot be reached; check the network and pip's settings, then run" \
      "this again (details: $1)"
  fi
  fail "pip could not install the dependencies: $(grep -i '^error' "$1" | tail -n 1 || true)" \
    "(details: $1)"
}

# The gateway's process

born() { # PID: when the process started, so that a number used again is not taken for ours
  local stat fields
  if [ -r "/proc/$1/stat" ]; then
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    read -r -a fields <<<"${stat##*) }" # from the third on; the command before may hold spaces
    [ "${fields[0]}" != Z ] && echo "${fields[19]}"
  else
    ps -o lstart= -p "$1" 2>/dev/null | tr -s ' ' '_'
  fi
}

running() { # sets pid and url if the gateway that we started still runs
  local birth now
  [ -f "$PID_FILE" ] || return 1
  read -r pid birth url <"$PID_FILE" || return 1
  case "$pid" in '' | *[!0-9]*) return 1 ;; esac
  now=$(born "$pid") || return 1
  [ -n "$now" ] && [ "$now" = "$birth" ]
}

here() { # the address as a browser on this machine reaches it
  case "$FORECAST_ADDRESS" in
    0.0.0.0 | ::) echo "http://127.0.0.1:$FORECAST_PORT" ;;
    *:*) echo "http://[$FORECAST_ADDRESS]:$FORECAST_PORT" ;;
    *) echo "http://$FORECAST_ADDRESS:$FORECAST_PORT" ;;
  esac
}

check_port() {
  local python
  case "$FORECAST_PORT" in
    '' | 0 | *[!0-9]*) fail "FORECAST_PORT must be a port between 1 and 65535, not '$FORECAST_PORT'" ;;
  esac
  python=$(any_python) || exit 1
  "$python" - "$FORECAST_ADDRESS" "$FORECAST_PORT" <<'PY' 2>/dev/null ||
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind((address, port))
PY
    fail "port $FORECAST_PORT of $FORECAST_ADDRESS cannot be used, most likely because another" \
      "program listens on it; stop that, or choose another: FORECAST_PORT=8001 ./setup.sh ..."
}

answers() { # PATH: whether the gateway says 2xx
  "$VENV/bin/python" - "$url$1" <<'PY' 2>/dev/null
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(sys.argv[1], timeout=5).close()
PY
}

wait_for() { # PATH SECONDS: fails when the time is over or the process has ended
  local give_up=$((SECONDS + $2))
  until answers "$1"; do
    running || return 1
    [ "$SECONDS" -lt "$give_up" ] || return 1
    sleep 0.5
  done
}

start() { # sets url; starts the gateway unless it runs
  local ready=sprout,statistical
  if running; then
    echo "The gateway is already running at $url (process $pid)."
    return
  fi
  check_port
  set_up "$KIND"
  mkdir -p "$FORECAST_HOME"
  url=$(here)
  # Models without weights load at once; waiting for them makes the printed call work as pasted.
  [ "$KIND" = light ] || ready="$ready,prophet"
  FORECAST_PRELOAD="${FORECAST_PRELOAD-$ready}" \
    nohup "$VENV/bin/forecast-gateway" >>"$LOG" 2>&1 </dev/null &
  pid=$!
  printf '%s %s %s\n' "$pid" "$(born "$pid")" "$url" >"$PID_FILE"
  echo "Starting the gateway at $url (log: $LOG)"
  wait_for /health/live "$LIVE_WAIT_S" || explain_start
  wait_for /health/ready "$READY_WAIT_S" || echo "It runs, but some models are still loading: $url/health"
}

explain_start() {
  if running; then
    fail "the gateway does not answer at $url after $LIVE_WAIT_S s; see $LOG"
  fi
  rm -f "$PID_FILE"
  fail "the gateway ended at once: $(grep -v '^[[:space:]]*$' "$LOG" | tail -n 1) (log: $LOG)"
}

stop() {
  local give_up=$((SECONDS + STOP_WAIT_S))
  if ! running; then
    rm -f "$PID_FILE"
    echo "No gateway that this script started is running."
    return
  fi
  echo "Stopping the gateway (process $pid); requests under way are answered first"
  kill -TERM "$pid" 2>/dev/null || true
  while running; do
    if [ "$SECONDS" -ge "$give_up" ]; then
      kill -KILL "$pid" 2>/dev/null || true
      break
    fi
    sleep 0.5
  done
  rm -f "$PID_FILE"
  echo "Stopped."
}

key() { # the key to call with, for our own use
  if [ -n "${FORECAST_API_KEY:-}" ]; then
    printf '%s' "${FORECAST_API_KEY%%,*}"
  else
    cat "$FORECAST_HOME/api_key"
  fi
}

show_api() {
  local shown
  if [ -n "${FORECAST_API_KEY:-}" ]; then
    # The caller's own shell puts the key in.
    # shellcheck disable=SC2016
    shown='${FORECAST_API_KEY%%,*}'
    echo "Key: the one in FORECAST_API_KEY"
  else
    shown=$(key)
    echo "Key: $shown (kept in $FORECAST_HOME/api_key)"
  fi
  cat <<CALL

A first forecast, six months ahead; paste this:

curl -s $url/forecast/v1/sprout/inference \\
  -H "Authorization: Bearer $shown" -H "Content-Type: application/json" \\
  -d '{"inputs": [{"item_id": "airline", "start": "1949-01-01", "freq": "MS", "target": [
        112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118,
        115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140,
        145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166]}],
       "parameters": {"horizon": 6, "quantile_levels": [0.1, 0.5, 0.9]}}'

CALL
}

show_ui() {
  echo "Interactive API page: $url/docs (press Authorize and enter the key)"
}

# Verbs

run_venv() {
  case "${1:-api}" in
    api | all | ui) ;;
    *) fail "run-venv forecast takes api, ui or all, not '$1'" ;;
  esac
  start
  [ "${1:-api}" = ui ] || show_api
  show_ui
  echo "To stop it: ./setup.sh stop forecast"
}

run_tests() {
  local status=0 environments
  set_up test
  if [ $# -eq 0 ] || [ "$*" = --slow ]; then set_up_environments; fi &
  environments=$! # while they are downloaded, the code is checked
  scripts/check || status=1
  wait "$environments" || exit 1
  "$VENV/bin/python" scripts/measure || status=1 # with --strict, a limit that is missed fails too
  SETUP_DONE=1 scripts/test "$@" || status=$?
  exit "$status"
}

demo() {
  start
  FORECAST_API_KEY=$(key) "$VENV/bin/python" examples/demo.py --url "$url" \
    --chart "$FORECAST_HOME/demo.png"
  echo "The gateway still runs; to stop it: ./setup.sh stop forecast"
}

make_environment() { # NAME
  [ -e "requirements/${1:-}.txt" ] ||
    fail "env takes the name of an environment: $(environments | tr '\n' ' ')"
  set_up run
  set_up_environment "$1"
  echo "Set up .venv-$1; the gateway uses it for the models that need it."
}

run_docker() {
  local files=(-f docker-compose.yml)
  case "${1:-}" in
    '' | models) ;;
    *) fail "run-docker forecast takes nothing more, or models, not '$1'" ;;
  esac
  command -v docker >/dev/null 2>&1 || fail "docker is not installed; use ./setup.sh run-venv forecast"
  docker compose version >/dev/null 2>&1 ||
    fail "docker has no compose command; install Docker's compose plugin"
  docker info >/dev/null 2>&1 ||
    fail "the docker engine does not answer; start it, and make sure that you may use it"
  make_key
  export FORECAST_API_KEY TORCH_INDEX
  FORECAST_API_KEY=$(key)
  if [ "${1:-}" = models ]; then
    docker compose build gateway
    docker compose run --rm --no-deps -T gateway forecast compose >compose.models.yml
    files+=(-f compose.models.yml --profile models)
  fi
  docker compose "${files[@]}" up --build --detach --wait
  FORECAST_ADDRESS=127.0.0.1
  url=$(here)
  show_api
  echo "To stop it: docker compose ${files[*]} down"
}

make_key() { # for containers, which get it from here; the gateway itself makes the same file
  local python
  if [ -n "${FORECAST_API_KEY:-}" ] || [ -s "$FORECAST_HOME/api_key" ]; then return; fi
  python=$(any_python) || exit 1
  mkdir -p "$FORECAST_HOME"
  (umask 077 && "$python" -c 'import secrets; print(secrets.token_urlsafe(32))' \
    >"$FORECAST_HOME/api_key")
}

torch_index() { # URL or NAME: sets TORCH_INDEX
  case "$1" in
    http://* | https://* | file://*) TORCH_INDEX="$1" ;;
    '' | *[!a-z0-9.]*) fail "--torch-index takes a URL or a name such as cpu or cu126" ;;
    *)
      [ -n "$TORCH_INDEX" ] ||
        fail "--torch-index $1 is looked for under FORECAST_TORCH_INDEX, which is not set; give" \
          "the whole URL, as the Get started page of pytorch.org prints it"
      TORCH_INDEX="${TORCH_INDEX%/}/$1"
      ;;
  esac
}

main() {
  local verb="${1:---help}" rest=()
  [ $# -gt 0 ] && shift
  while [ $# -gt 0 ]; do
    case "$1" in
      --torch-index)
        [ $# -gt 1 ] || fail "--torch-index needs a URL or a name"
        torch_index "$2"
        shift
        ;;
      --torch-index=*) torch_index "${1#*=}" ;;
      --light) KIND=light ;;
      *) rest+=("$1") ;;
    esac
    shift
  done
  set -- ${rest[@]+"${rest[@]}"}
  case "$KIND $verb" in
    "light init" | "light run-venv" | run*) ;;
    *) fail "--light is of init and run-venv; for the rest everything is set up" ;;
  esac
  case "$verb" in
    --help | -h | help) usage; return ;;
    test) run_tests "$@" ;;
    env) make_environment "$@"; return ;;
    init | run-venv | run-docker | stop | demo) ;;
    *) fail "there is no verb '$verb'; ./setup.sh --help lists them" ;;
  esac
  if [ $# -gt 0 ]; then
    [ "$1" = forecast ] || fail "'$1' is not known; the one thing to set up here is: forecast"
    shift
  fi
  case "$verb" in
    init)
      set_up "$KIND"
      echo "Set up. To start the gateway: ./setup.sh run-venv forecast"
      ;;
    run-venv) run_venv "$@" ;;
    run-docker) run_docker "$@" ;;
    stop) stop ;;
    demo) demo ;;
  esac
}

main "$@"
