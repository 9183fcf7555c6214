#!/bin/bash
# A sweep on a SLURM cluster: one job array, each element a worker. Cancelled, preempted and timed-out elements lose nothing.
#   export HWDSE_STORAGE=postgresql://me@database/studies      # the password in ~/.pgpass, not here
#   export HWDSE_CACHE=/shared/hwdse-cache
#   hwdse sweep my_sweep.toml --workers 0 --study demo --output /shared/runs/demo      # makes the study, then watches; or in a job of its own
#   sbatch --array=1-16 examples/cluster/slurm.sh demo /shared/runs/demo
#SBATCH --job-name=hwdse
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --ntasks=1
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@60        # a minute before the end: the worker gives its trial back
#SBATCH --requeue
set -euo pipefail
study=${1:?name of the study}
run=${2:?run folder, on a file system that all nodes share}
: "${HWDSE_STORAGE:?postgresql://USER@HOST/DATABASE}"
: "${HWDSE_CACHE:?a folder that all nodes share}"
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# SLURM sets CUDA_VISIBLE_DEVICES; srun passes the signal on
srun hwdse worker "$run" --study "$study" --trust
