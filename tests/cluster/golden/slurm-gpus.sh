#!/usr/bin/env bash
#SBATCH --job-name=with-gpus
#SBATCH --output=with-gpus-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=10G
#SBATCH --gpus-per-node=a100:1
#SBATCH --time=2-00:00:00
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
# The search with-gpus on 3 nodes, for 6 workers. sbatch it in the folder in
# which `pqsearch run` would be given; that folder, the run directory and the data must be the same on all nodes.
# scancel --batch --signal=TERM JOB ends it with its journal closed; sbatch again continues.
# `bash FILE` without Slurm rehearses it: all nodes are then this machine.

set -eo pipefail
source .venv/bin/activate
set -u

nodes=3
cpus=4
gpus=1
retries=10
object_store=268435456
command=(pqsearch run specs/small.toml)

# How a command reaches a node. `exec`: the number of the background process is then that of srun, or of Ray itself.
if [[ -n ${SLURM_JOB_ID:-} ]]; then
    job=$SLURM_JOB_ID
    own=() # each node finds its own address
    mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    address=$(hostname --ip-address)
    address=${address%% *}
    on() {
        local host=$1
        shift
        exec srun --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --mem=0 --overlap --nodelist="$host" --export=ALL "$@"
    }
else
    echo "not under Slurm: rehearsing with $nodes nodes on this machine" >&2
    job=$$
    own=(--node-ip-address=127.0.0.2)
    mapfile -t hosts < <(yes localhost | head -n "$nodes" || true)
    address=127.0.0.2 # loopback; Ray would make the machine's own address of 127.0.0.1
    on() {
        shift
        exec "$@"
    }
fi

# Other jobs may run on the same nodes: a port and a folder of this job's own, and a token without which Ray answers nobody.
port=$((20000 + job % 10000))
temp=/tmp/pqsearch-$UID-$job
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
# Nothing is left to drain when the search is over.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

started=()
driver=
stopped=
ended=

start_node() { # HOST, then what is special about it
    local host=$1
    shift
    on "$host" ray start --block --disable-usage-stats --temp-dir="$temp" --num-cpus="$cpus" --num-gpus="$gpus" \
        --object-store-memory="$object_store" --dashboard-agent-listen-port=0 "$@" &
    started+=($!)
}

start_cluster() {
    start_node "${hosts[0]}" --head --node-ip-address="$address" --port="$port" --include-dashboard=false
    local second
    for ((second = 0; ; second++)); do
        if { : <> "/dev/tcp/$address/$port"; } 2> /dev/null; then break; fi
        if ! kill -0 "${started[0]}" 2> /dev/null || ((second == 120)); then
            echo "the head of the Ray cluster did not start on ${hosts[0]}, port $port" >&2
            return 1
        fi
        sleep 1
    done
    local host
    for host in "${hosts[@]:1}"; do
        start_node "$host" --address="$address:$port" "${own[@]}"
    done
}

end_cluster() {
    # A background command that is ended before it has become another program would come here, too.
    if [[ $BASHPID != "$$" ]]; then return; fi
    if [[ $ended != well ]]; then echo "Ray's logs are left in $temp on its nodes" >&2; fi
    # A node that is only just being started may miss a signal: it is told again after 30 seconds, and made to end after 60.
    local try node alive
    for ((try = 0; try < 300; try++)); do
        alive=
        for node in "${started[@]}"; do
            if ! kill -0 "$node" 2> /dev/null; then continue; fi
            alive=yes
            if ((try % 150 == 0)); then kill -TERM "$node" 2> /dev/null || true; fi
        done
        if [[ -z $alive ]]; then break; fi
        sleep 0.2
    done
    for node in "${started[@]}"; do kill -KILL "$node" 2> /dev/null || true; done
    if [[ $ended == well ]]; then
        for node in "${hosts[@]}"; do
            on "$node" rm -rf -- "$temp" &
            wait $! || true
        done
    fi
}

stop() { # WHY: the search closes its journal, and the script goes on below
    stopped=$1
    if [[ -n $driver ]]; then kill -TERM "$driver" 2> /dev/null || true; fi
}

trap end_cluster EXIT
trap 'stop asked' TERM INT
trap 'stop time' USR1

start_cluster
if [[ -n $stopped ]]; then exit 130; fi
RAY_ADDRESS="$address:$port" "${command[@]}" &
driver=$!
status=0
while :; do # a signal ends `wait`, not the search
    status=0
    wait "$driver" || status=$?
    if ! kill -0 "$driver" 2> /dev/null; then break; fi
done

if [[ $status == 0 || $status == 2 || -n $stopped ]]; then ended=well; fi
# 0: done. 2: a mistake in the spec. Everything else continues, unless somebody asked for the end.
if [[ -n ${SLURM_JOB_ID:-} && $status != 0 && $status != 2 && $stopped != asked ]]; then
    if ((${SLURM_RESTART_COUNT:-0} < retries)); then
        echo "queued again to continue" >&2
        scontrol requeue "$SLURM_JOB_ID"
    fi
fi
exit "$status"
