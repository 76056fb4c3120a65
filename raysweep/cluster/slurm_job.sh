
# The rest is the same for every sweep. An allocation ends in one of four ways: the sweep is done; its time runs
# out, and the job is queued again; someone stops it (`scancel --batch --signal=INT JOB`); or it cannot continue.
set -euo pipefail

# A Ray for this job only, with ports from the system and its own folder and token.
scratch=$(mktemp -d "/tmp/ray-$SLURM_JOB_ID-XXXX") # short: the path of a socket has 107 bytes at most
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
RAYSWEEP_NODES=$SLURM_JOB_NUM_NODES # the sweep starts when they are up, or after five minutes
export RAY_AUTH_MODE RAY_AUTH_TOKEN RAYSWEEP_NODES RAY_usage_stats_enabled=0 PYTHONUNBUFFERED=1
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
rays=()

step_on() { # step_on NODES: set `step` to the srun command that runs once on each of them
    step=(srun --quiet --overlap --input=none --cpu-bind=none --nodes="$#" --ntasks="$#")
    step+=(--nodelist="$(IFS=, && echo "$*")")
    # A step gets the GPUs of whole nodes only if it asks for them; all nodes have the same number.
    if [[ ${SLURM_GPUS_ON_NODE:-} ]]; then step+=(--gres="gpu:$SLURM_GPUS_ON_NODE"); fi
}

start_ray() { # start_ray OPTIONS: on the nodes of `step`, with the cores and GPUs that this job has on each
    # Up to three times: a busy node may be too slow for Ray's time limit, and a lost node may come back.
    # shellcheck disable=SC2016 # the variables are expanded on the node
    "${step[@]}" bash -c '
        for _ in 1 2 3; do
            "$0" -m ray.scripts.scripts start "$@" --block --num-cpus="$SLURM_CPUS_ON_NODE" \
                --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --min-worker-port=0 --max-worker-port=0 \
                --dashboard-agent-listen-port=0 > /dev/null && exit
        done
        exit 1' "$python" "$@" --temp-dir="$scratch" &
    rays+=("$!")
}

finish() { # stop this job's Ray and delete its folder on every node
    kill "${rays[@]}" 2> /dev/null || true
    wait "${rays[@]}" 2> /dev/null || true
    step_on "${nodes[@]}"
    "${step[@]}" rm -rf "$scratch" || true
}
trap finish EXIT

driver='' again=yes signalled=''
stop() { # let the sweep finish its running epochs; after half the grace abort it, for stopping Ray takes time
    signalled=yes
    if [[ $driver ]]; then
        kill -TERM "$driver" 2> /dev/null || true
        { sleep "$((grace / 2))" && kill -TERM "$driver" 2> /dev/null; } &
        timer=$!
    fi
}
trap stop TERM           # from Slurm, before the time limit (#SBATCH --signal), or by preemption
trap 'again=no; stop' INT # from the user: no further allocation

epochs() { find "$study" -path '*/journal/*.jsonl' -exec cat {} + 2> /dev/null | grep -c '"event": *"reported"' || true; }

address=$(getent ahostsv4 "${nodes[0]}" | awk '$1 !~ /^127\./ {print $1; exit}')
step_on "${nodes[0]}"
start_ray --head --port=0 --node-ip-address="${address:-$(hostname -I | cut -d' ' -f1)}" --include-dashboard=false
until [[ -s $scratch/ray_current_cluster ]]; do
    kill -0 "${rays[0]}" 2> /dev/null || { echo "Ray did not start on ${nodes[0]}; see its output above"; exit 6; }
    sleep 0.5
done
address=$(< "$scratch/ray_current_cluster")
if ((SLURM_JOB_NUM_NODES > 1)); then
    step_on "${nodes[@]:1}"
    start_ray --address="$address"
fi

if [[ -f $study/study.json ]]; then args=("${resume[@]}"); else args=("${begin[@]}"); fi
before=$(epochs)
if [[ ! $signalled ]]; then
    "$python" "$launch" "${args[@]}" --address "$address" &
    driver=$!
fi
code=130
while [[ $driver ]]; do # `wait` also returns on a signal
    signalled='' code=0
    wait "$driver" || code=$?
    [[ $signalled ]] || break
done
if [[ ${timer:-} ]]; then kill "$timer" 2> /dev/null || true; fi # it may have fired
after=$(epochs)
echo "allocation $((${SLURM_RESTART_COUNT:-0} + 1)) of job $SLURM_JOB_ID: $((after - before)) epochs, exit code $code"

if ((code == 130)) && [[ $again == yes ]]; then
    if ((after == before)); then
        echo "no epoch ended within this allocation, so the job is not requeued: give it more --time"
    else
        trap - EXIT
        finish
        scontrol requeue "$SLURM_JOB_ID" || echo "continue it with: sbatch $script"
    fi
fi
exit "$code"
