#!/usr/bin/env bash
# Checks the CUDA device on a machine with a card, and measures it, in less than ten minutes. Needs no Go there:
#
#     bash scripts/gpu-check.sh build DIR          # where Go is: the binaries hone and cuda.test in DIR, and their commit
#     bash scripts/gpu-check.sh run DIR [LIBRARIES [checks|speed]]  # where the card is, in a checkout: all, or a half of it
#     bash scripts/gpu-check.sh emulate DIR  # without a card: the same tests on the host, and no measurements
#
# LIBRARIES is a folder with libnvrtc and libcublasLt, or one that pip installed NVIDIA's wheels into ("" for none). Speed is compared with
# PyTorch, transformers and PEFT of $PYTHON (python3) where they are installed. Logs and lines of JSON go to $OUT as well, where that is set.
# On an H100 the tests take some 20 s, the kernels 7, hone's workloads 60 and the peers 120; the sanitizers, whose parts run side by side, up to 55 each,
# racecheck of attention longer.
# The limits below are for what hangs; one part that fails leaves the others to run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
what=${1:-} dir=${2:-}
case "$what ${4:-all}" in
"build all" | "emulate all" | "run all" | "run checks" | "run speed") ;;
*) dir="" ;;
esac
if [ -z "$dir" ]; then
	sed -n '2,13s/^# \{0,1\}//p' "$0"
	exit 2
fi

if [ "$what" = build ]; then
	mkdir -p "$dir"
	git rev-parse HEAD >"$dir/commit" 2>/dev/null || echo unknown >"$dir/commit"
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$dir/hone" ./cmd/hone && CGO_ENABLED=0 go test -trimpath -ldflags "-s -w" -c -o "$dir/cuda.test" ./device/cuda
	exit
fi

dir=$(cd "$dir" && pwd) || exit 2
libraries=${3:-} part=${4:-all} suffix="" failed=0 python=${PYTHON:-python3}
[ -z "$libraries" ] || libraries=$(cd "$libraries" && pwd)
[ "$what" != emulate ] || suffix=Emulated
export CUDA_HOME=${libraries:-${CUDA_HOME:-}}
[ -n "${XDG_CACHE_HOME:-}${HOME:-}" ] || export XDG_CACHE_HOME=/tmp/hone-cache # where compiled kernels are kept
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True                       # else the peer of llama1b_full may not fit into 80 GB
if [ -n "${OUT:-}" ]; then
	mkdir -p "$OUT" && log=$(cd "$OUT" && pwd) || exit 2
	exec > >(tee "$log/table.txt")
	table=$!
	trap 'exec >/dev/null; wait $table' EXIT
else
	log=$(mktemp -d)
	trap 'rm -rf "$log"' EXIT
fi

row() { printf '%-34s %-8s %s\n' "$1" "$2" "$3"; }

# tests NAME SECONDS: a row for each part of a test, which must have run
tests() {
	local name=$1$suffix
	(cd device/cuda && timeout "$2" "$dir/cuda.test" -test.v -test.run "^$name\$" -libraries "$libraries") >"$log/$name" 2>&1
	local code=$? rows part result took
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

# field NAME FILE: a number of the last line of JSON
field() { tail -1 "$2" 2>/dev/null | sed -nE "s/.*\"$1\": ?([-+0-9.eE]+).*/\1/p"; }

readonly columns='%-15s %13s %7s %13s %7s %-13s %10s %10s %8s  %s\n'

# compare WORKLOAD COMMAND KIND AIM SECONDS ARGUMENTS: a row with hone's measurement beside that of the peer, one after the other. KIND is what the aim is of:
# train (RATIO,MFU), memory (GB of the tensors' peak), bandwidth (share) or none.
compare() {
	local name=$1 command=$2 kind=$3 aim=$4 limit=$5 hone="$log/$1.json" peer="$log/$1.peer.json"
	shift 5
	if ! timeout "$limit" "$dir/hone" bench "$command" --workload "$name" --device cuda --dtype bf16 --json "$@" >"$hone" 2>"$log/$name.log"; then
		failed=1
		: >"$hone"
	fi
	: >"$peer"
	if [ "$with_peer" = yes ]; then
		local steps=()
		[ "$command" != train ] || steps=(--steps 3)
		timeout "$limit" "$python" "scripts/peers/$command.py" --workload "$name" --device cuda --dtype bf16 "${steps[@]}" >"$peer" 2>"$log/$name.peer.log" || : >"$peer"
	fi
	local share=share_of_peak
	[ "$command" = train ] || share=share_of_bandwidth
	# shellcheck disable=SC2046,SC2059
	printf "$columns" "$name" $(awk -v name="$name" -v page="$log/page.md" -v s="$(field s_per_step "$hone")" -v peer_s="$(field s_per_step "$peer")" -v peer_peak="$(field peak_device_mb "$peer")" \
		-v hone="$(field tokens_per_s "$hone")" -v share="$(field $share "$hone")" -v peer="$(field tokens_per_s "$peer")" \
		-v peak="$(field peak_device_mb "$hone")" -v planned="$(field planned_mb "$hone")" -v kind="$kind" -v aim="$aim" '
		function grouped(v) {
			if (v == "") return ""
			v = sprintf("%.0f", v)
			while (match(v, /[0-9][0-9][0-9][0-9](,|$)/)) v = substr(v, 1, RSTART) "," substr(v, RSTART + 1)
			return v
		}
		function some(v, format) { return v == "" ? "" : sprintf(format, v) }
		function number(v, format) { return v == "" ? "none" : sprintf(format, v) }
		BEGIN {
			ratio = hone == "" || peer == "" || peer == 0 ? "" : hone / peer
			off = peak == "" || planned == "" || planned == 0 ? "" : 100 * (peak / planned - 1)
			split(aim, a, ","); verdict = "PASS"; unknown = 0; text = "-"
			if (kind == "train") {
				text = ">=" a[1] "x" (a[2] ? ",>=" 100 * a[2] "%" : "")
				if (ratio == "") unknown = 1; else if (ratio < a[1]) verdict = "SHORT"
				if (a[2] && share < a[2]) verdict = "SHORT"
			} else if (kind == "memory") {
				text = "<=" a[1] "GB"
				if (peak / 1000 > a[1]) verdict = "SHORT"
			} else if (kind == "bandwidth") {
				text = ">=" 100 * a[1] "%"
				if (share < a[1]) verdict = "SHORT"
			} else verdict = "-"
			if (off != "" && (off > 5 || off < -5)) verdict = "SHORT"
			if (unknown && verdict == "PASS") verdict = "UNKNOWN"
			if (hone == "") verdict = "FAILED"
			printf "| `%s` | %s | %s | %s | %s | %s | %s | %s | %s (%s) | %s |\n", name, grouped(hone), some(s, "%.3f"), some(share == "" ? "" : 100 * share, "%.1f%%"), grouped(peer), \
				some(peer_s, "%.3f"), some(ratio, "**%.2f**"), text, some(peak == "" ? "" : peak / 1000, "%.2f"), some(planned == "" ? "" : planned / 1000, "%.2f"), some(peer_peak == "" ? "" : peer_peak / 1000, "%.1f") >>page
			print number(hone, "%.0f"), number(share == "" ? "" : 100 * share, "%.1f%%"), number(peer, "%.0f"), number(ratio, "%.2fx"), text, \
				number(peak == "" ? "" : peak / 1000, "%.2f"), number(planned == "" ? "" : planned / 1000, "%.2f"), number(off, "%+.1f%%"), verdict
		}')
	[ -s "$hone" ] || tail -1 "$log/$name.log"
	[ "$with_peer" != yes ] || [ -s "$peer" ] || echo "  the peer: $(tail -1 "$log/$name.peer.log")"
}

# masters WORKLOAD SECONDS: a line beside the row before with the peer once more, now with the f32 master weights that hone has
masters() {
	[ "$with_peer" = yes ] || return 0
	local peer="$log/$1.masters.json"
	timeout "$2" "$python" scripts/peers/train.py --workload "$1" --device cuda --dtype bf16 --masters --steps 3 >"$peer" 2>"$log/$1.masters.log" || : >"$peer"
	if [ -s "$peer" ]; then
		awk -v peer="$(field tokens_per_s "$peer")" -v hone="$(field tokens_per_s "$log/$1.json")" -v gb="$(field peak_device_mb "$peer")" \
			'BEGIN { printf "  the peer with f32 master weights: %.0f tokens/s, %s, %.1f GB\n", peer, hone == "" ? "no ratio" : sprintf("%.2fx", hone / peer), gb / 1000 }'
	else
		echo "  the peer with f32 master weights: $(tail -1 "$log/$1.masters.log")"
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

# Parts of the suite that run side by side under each of NVIDIA's tools, which take long: together they have all files of kernels. A part is 2,500
# launches at most. Threads of the first part share no memory, so it is not for racecheck.
readonly sanitized=(
	'TestConformance$/^Gated$'
	'TestConformance$/^(Copy2D|Dropout|Rope|Embedding|PutRows|Reduce|ColumnSum)$'
	'TestConformance$/^Norm$'
	'TestConformance$/^CrossEntropy$'
	'TestConformance$/^(Route|Combine|AdamW8|Split|Pack|MatMulPacked|MatMulScaled|LowRankGrad)$'
	'TestConformance$/^MatMul$'
	'TestConformance$/^MatMulPlus$'
	'TestConformance$/^Attention$'
	'TestSample$'
)
readonly patience=110 # seconds of a tool: attention takes racecheck 53 alone, and more beside the others

# sanitizers: a row for each part and each tool of NVIDIA's compute-sanitizer. Racecheck does not see that one thread speaks for its warp: there each does.
sanitizers() {
	local sanitizer tool part code races note running more
	sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
	if [ -z "$sanitizer" ]; then
		row "compute-sanitizer" "NONE" "it is not here"
		return
	fi
	for tool in memcheck initcheck racecheck; do
		running=()
		for part in "${!sanitized[@]}"; do
			[ "$tool$part" != racecheck0 ] || continue
			more=()
			[ "$tool" != racecheck ] || [[ ${sanitized[$part]} != *Attention* ]] || more=(-all-speak)
			(
				cd device/cuda || exit
				timeout "$patience" "$sanitizer" --tool "$tool" --error-exitcode 9 "$dir/cuda.test" -test.short -test.run "^${sanitized[$part]}" -libraries "$libraries" "${more[@]}" >"$log/$tool.$part" 2>&1
				echo $? >"$log/$tool.$part.code"
			) &
			running+=($!)
		done
		wait "${running[@]}"
	done
	for tool in memcheck initcheck racecheck; do
		for part in "${!sanitized[@]}"; do
			[ "$tool$part" != racecheck0 ] || continue
			code=$(cat "$log/$tool.$part.code")
			# racecheck reports cuBLASLt's own kernels (nvjet) as well; with nothing else to say, and results that are right, it passes
			races=$(grep -a 'Race reported' "$log/$tool.$part") note=""
			if [ "$code" = 9 ] && [ -n "$races" ] && ! grep -vq nvjet <<<"$races" && grep -aqx PASS "$log/$tool.$part"; then code=0 note=" (races within cuBLASLt alone)"; fi
			case $code in
			0) row "compute-sanitizer $tool" "PASS" "${sanitized[$part]}$note" ;;
			124) row "compute-sanitizer $tool" "UNKNOWN" "${sanitized[$part]} took more than $patience s" ;;
			*)
				failed=1
				row "compute-sanitizer $tool" "FAIL" "${sanitized[$part]}: $(grep -am1 -E '=========.*(Uninit|Invalid|Race|Error|hazard)' "$log/$tool.$part")"
				;;
			esac
		done
	done
}

echo "commit      $(cat "$dir/commit" 2>/dev/null || echo unknown)"
echo "card        $(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'nvidia-smi is not here')"
"$dir/hone" doctor | grep -E '^(system|cuda)' | tee "$log/doctor"
if [ "$what" = run ] && grep -q 'missing:' "$log/doctor"; then
	exit 1
fi
if [ "$part" != speed ]; then
	row check result time
	tests TestConformance 240
	tests TestGolden 60
	tests TestTrajectory 60
	tests TestSample 60
	if [ "$what" = run ]; then
		tests TestRowsDoNotDependOnOthers 60
		tests TestBiasIsRoundedOnce 60
		tests TestBundleOnACard 30
		tests TestGenerateByGraphsOnACard 60
		sanitizers
	fi
fi
if [ "$what" = run ] && [ "$part" != checks ]; then
	with_peer=no
	versions=$("$python" -c 'import torch, transformers, peft
assert torch.cuda.is_available()
print("torch", torch.__version__, "transformers", transformers.__version__, "peft", peft.__version__)' 2>/dev/null) && with_peer=yes
	echo "peer        ${versions:-none: $python has no PyTorch with CUDA, transformers and peft}"
	kernels 60
	echo "The share is of the card's dense bf16 peak (training) or of its bandwidth (generation); memory in GB is the peak of hone's tensors."
	printf '%s\n' "| workload | hone, tokens/s | s/step | share | peer, tokens/s | s/step | ratio | aim | peak GB (planned) | peer's GB |" "|---|---|---|---|---|---|---|---|---|---|" >"$log/page.md"
	# shellcheck disable=SC2059
	printf "$columns" workload "hone tokens/s" share "peer tokens/s" ratio aim "peak GB" "planned GB" off result
	compare gpt2_124m train train 1.0 90 --steps 5
	compare llama1b_full train train 1.5,0.5 60 --steps 5
	masters llama1b_full 60
	compare llama8b_lora train train 1.5,0.5 90 --steps 5
	peers=$with_peer with_peer=no # of the next, whose aim is of the card
	compare llama8b_b1 generate bandwidth 0.8 60 --runs 1
	with_peer=$peers
	compare llama8b_b256 generate none - 60 --runs 1
	with_peer=no
	compare llama70b_qlora train memory 48 150 --steps 3
	echo "The same for docs/performance.md:"
	cat "$log/page.md"
fi
echo "$([ $failed = 0 ] && echo "all is well" || echo "something is wrong"), ${SECONDS}s"
exit $failed
