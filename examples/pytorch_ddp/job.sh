#!/bin/sh
#SBATCH --job-name=ddp --nodes=2 --ntasks-per-node=1 --requeue --open-mode=append
# One rank a task; the ranks meet on the job's first node. sbatch job.sh --folder /shared/ddp
export MASTER_ADDR="${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}"
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
exec srun python train.py "$@"
