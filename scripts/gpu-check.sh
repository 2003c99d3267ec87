#!/usr/bin/env bash
# Checks the CUDA device on a machine with a card, and measures it, in less than ten minutes. Needs no Go there:
#
#     bash scripts/gpu-check.sh build DIR          # where Go is: the binaries hone and cuda.test in DIR
#     bash scripts/gpu-check.sh run DIR [LIBRARIES]  # where the card is, in a checkout: one table on the standard output
#
# LIBRARIES is a folder with libnvrtc and libcublasLt, or one that pip installed NVIDIA's wheels into. Without a card,
# bash scripts/gpu-check.sh emulate DIR runs the same tests on the host, and no measurements.
set -uo pipefail
cd "$(dirname "$0")/.."
what=${1:-} dir=${2:-}
if [ -z "$dir" ]; then
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 2
fi

if [ "$what" = build ]; then
	mkdir -p "$dir"
	CGO_ENABLED=0 go build -trimpath -o "$dir/hone" ./cmd/hone && CGO_ENABLED=0 go test -trimpath -c -o "$dir/cuda.test" ./device/cuda
	exit
fi

dir=$(cd "$dir" && pwd) libraries=${3:-} suffix="" failed=0
[ -z "$libraries" ] || libraries=$(cd "$libraries" && pwd)
[ "$what" != emulate ] || suffix=Emulated
export CUDA_HOME=${libraries:-${CUDA_HOME:-}}
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

row() { printf '%-34s %-8s %s\n' "$1" "$2" "$3"; }

# tests NAME SECONDS: a row for each part of a test, which must have run
tests() {
	local name=$1$suffix
	(cd device/cuda && timeout "$2" "$dir/cuda.test" -test.v -test.run "^$name\$" -libraries "$libraries") >"$log/$name" 2>&1
	local code=$? rows
	rows=$(sed -nE 's|^ *--- ([A-Z]+): ([A-Za-z0-9_/]+) \((.*)\)|\2 \1 \3|p' "$log/$name")
	while read -r part result took; do
		[ -z "$part" ] || row "$part" "$result" "$took"
	done <<<"$rows"
	if [ $code != 0 ] || [ -z "$rows" ] || grep -q ' SKIP ' <<<"$rows"; then
		failed=1
		row "$name" "WRONG" "exit $code"
		grep -vE '^(=== |ok|PASS|FAIL| *---)' "$log/$name" | sort -u | head -20
	fi
}

# bench LABEL SECONDS ARGUMENTS: a row with what the measurement prints
bench() {
	local label=$1 limit=$2 begun=$SECONDS
	shift 2
	if timeout "$limit" "$dir/hone" bench "$@" --device cuda >"$log/bench" 2>&1; then
		row "$label" "$((SECONDS - begun))s" "$(tail -1 "$log/bench")"
	else
		failed=1
		row "$label" "NONE" "$(tail -1 "$log/bench")"
	fi
}

# kernels SECONDS: a row for each kernel that is timed
kernels() {
	if timeout "$1" "$dir/hone" bench kernels --device cuda >"$log/kernels" 2>&1; then
		while read -r line; do row kernel "" "$line"; done <"$log/kernels"
	else
		failed=1
		row kernels "NONE" "$(tail -1 "$log/kernels")"
	fi
}

"$dir/hone" doctor | grep -E '^(system|cuda)' | tee "$log/doctor"
if [ "$what" = run ] && grep -q 'missing:' "$log/doctor"; then
	exit 1
fi
row check result time
tests TestConformance 240
tests TestGolden 60
tests TestTrajectory 60
if [ "$what" = run ]; then
	sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
	for tool in memcheck racecheck initcheck; do
		if [ -z "$sanitizer" ]; then
			row "compute-sanitizer $tool" "NONE" "it is not here"
		elif (cd device/cuda && timeout 90 "$sanitizer" --tool "$tool" --error-exitcode 9 "$dir/cuda.test" -test.short -test.run '^(TestGolden|TestConformance)$/^(gpt2.*|llama.*|Attention|MatMul|MatMulPacked)$' -libraries "$libraries") >"$log/$tool" 2>&1; then
			row "compute-sanitizer $tool" "PASS" ""
		else
			failed=1
			row "compute-sanitizer $tool" "FAIL" "$(grep -m1 '=========' "$log/$tool")"
		fi
	done
	kernels 60
	bench gpt2_124m 60 train --workload gpt2_124m --dtype bf16 --steps 5
	bench llama1b_full 60 train --workload llama1b_full --dtype bf16 --steps 5
	bench llama8b_lora 90 train --workload llama8b_lora --dtype bf16 --steps 5
	bench llama70b_qlora 240 train --workload llama70b_qlora --dtype bf16 --steps 3
	bench llama8b_b1 60 generate --workload llama8b_b1 --dtype bf16 --runs 1
	bench llama8b_b256 90 generate --workload llama8b_b256 --dtype bf16 --runs 1
fi
echo "$([ $failed = 0 ] && echo "all is well" || echo "something is wrong"), ${SECONDS}s"
exit $failed
