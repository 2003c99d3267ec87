"""Checks the job files of `hone plan --launch` against the schedulers' own schemas.

    pip install skypilot kubernetes-validate
    python scripts/launch/validate.py --hone ./hone

Plans of several stages, methods and sizes are written to a temporary folder for each launcher. SkyPilot's files go through the schemas of
task, resources and storage that the package itself uses, and through sky.Task; Kubernetes' through the API's schemas in strict mode (unknown
fields are errors); Slurm's through `bash -n`, the sbatch parser where it is on the PATH (`sbatch --test-only`, with a configuration that names no
controller: it still refuses unknown options and bad values) and else a list of the manual's options. Every recipe.yaml is read by hone itself.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

PLANS = {
    "pretrain": ["model=7B", "gpu=h100", "gpus=64"],
    "cheapest": ["model=1B", "max_hours=200", "launch.binary=https://example.org/hone"],
    "spot": ["model=7B", "provider=aws", "spot=true", "gpu=h100", "gpus=16"],
    "lora": ["model=llama-3-8b", "stage=sft", "method=lora", "tokens=50M", "gpu=a100", "gpus=8", "launch.data=answers.jsonl"],
    "qlora": ["model=llama-3-8b", "stage=dpo", "method=qlora", "tokens=5M", "gpu=rtx4090", "gpus=1", "launch.name=It's a name"],
    "offload": ["model=llama-2-7b", "stage=reward", "tokens=5M", "gpu=a100", "gpus=1", "offload=params", "optimizer=adamw8bit"],
    "slurm": ["model=gpt2-124m", "gpu=v100", "gpus=12", "launch.partition=gpu", "launch.account=me", "launch.max_hours=4"],
}

# Options of sbatch that job files may have; https://slurm.schedmd.com/sbatch.html
SBATCH = {"job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "mem", "time", "partition", "account", "requeue",
          "open-mode", "output", "signal"}

# The least that sbatch must read before it looks at a job; nothing answers there.
SLURM_CONF = """ClusterName=none
SlurmctldHost=localhost
MessageTimeout=2
AuthType=auth/none
CredType=cred/none
GresTypes=gpu
NodeName=localhost
PartitionName=all Nodes=localhost
"""


def skypilot(path):
    import sky
    from sky.utils import common_utils, schemas
    config = yaml.safe_load(path.read_text())
    common_utils.validate_schema(config, schemas.get_task_schema(), "task: ")
    common_utils.validate_schema(config["resources"], schemas.get_resources_schema(), "resources: ")
    for mount in config["file_mounts"].values():
        common_utils.validate_schema(mount, schemas.get_storage_schema(), "storage: ")
    config["envs"] = {name: value or "https://example.org/hone" for name, value in config["envs"].items()}
    config.pop("file_mounts")  # sky.Task would ask the cloud for the bucket
    config["workdir"] = str(path.parent)
    machines = config["num_nodes"]
    task = sky.Task.from_yaml_config(config)
    assert task.num_nodes == machines and "resume=true" in task.run
    for script in (task.setup, task.run):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def kubernetes(path):
    import kubernetes_validate
    version = kubernetes_validate.latest_version()
    kinds = []
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, version, strict=True)
        kinds.append(document["kind"])
        if document["kind"] == "Job":
            pod = document["spec"]["template"]["spec"]
            for container in pod["initContainers"] + pod["containers"]:
                subprocess.run(["sh", "-n"], input=container["args"][0], text=True, check=True)
            assert int(pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) > 0
        if document["kind"] == "ConfigMap":
            beside = yaml.safe_load((path.parent / "recipe.yaml").read_text())
            assert yaml.safe_load(document["data"]["recipe.yaml"]) == beside, "the recipe in the ConfigMap is another"
    assert kinds == ["ConfigMap", "PersistentVolumeClaim", "Job"], kinds


def slurm(path):
    subprocess.run(["bash", "-n", path], check=True)
    options = re.findall(r"^#SBATCH --([a-z-]+)", path.read_text(), re.MULTILINE)
    assert options and set(options) <= SBATCH, set(options) - SBATCH
    if shutil.which("sbatch"):
        conf = path.parent.parent / "slurm.conf"
        conf.write_text(SLURM_CONF)
        said = subprocess.run(["sbatch", "--test-only", path], capture_output=True, text=True, env={**os.environ, "SLURM_CONF": str(conf)}).stderr
        assert not re.search(r"unrecognized|[Ii]nvalid|error:", said), said


CHECKS = {"skypilot": skypilot, "k8s": kubernetes, "slurm": slurm}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hone", default="./hone")
    hone = pathlib.Path(parser.parse_args().hone).resolve()
    checked = 0
    with tempfile.TemporaryDirectory() as temp:
        for name, keys in PLANS.items():
            for launcher, check in CHECKS.items():
                out = pathlib.Path(temp) / name / launcher
                run = subprocess.run([hone, "plan", *keys, "--launch", launcher, f"launch.out={out}"], capture_output=True, text=True)
                assert run.returncode == 0, run.stderr
                job = next(p for p in out.iterdir() if p.name != "recipe.yaml")
                try:
                    check(job)
                except Exception as error:
                    sys.exit(f"{name}, {launcher}: {error}\n{job.read_text()}")
                checked += 1
    print(f"{checked} job files of {len(PLANS)} plans are valid" + ("" if shutil.which("sbatch") else "; sbatch is not here, its options were compared with a list"))


if __name__ == "__main__":
    main()
