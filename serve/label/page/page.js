// The page shows what the server says and sends verdicts in terms of sides; which answer stands on which side only
// the server knows. Texts are set as text, never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
let who = sessionStorage.getItem("annotator") || localStorage.getItem("annotator") || ""; // a tab keeps its own when another tab takes another
let pair = 0, since = 0, busy = false, timer = 0;

async function call(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const response = await fetch(path, options);
  if (!response.ok) throw Object.assign(new Error((await response.text()).trim()), { status: response.status });
  return response.json();
}

function note(text) {
  $("note").textContent = text;
  $("note").hidden = !text;
}

// fill sets a text with its fenced blocks in letters of one width, as code is written.
function fill(box, text) {
  const parts = text.split(/^(```[^\n]*\n[\s\S]*?(?:^```[^\n]*$|$(?![\s\S])))/m); // every second one is a block, fences included
  box.replaceChildren(...parts.map((part, i) => {
    const e = document.createElement(i % 2 ? "code" : "span");
    e.textContent = part;
    return e;
  }));
}

function turn(role, text) {
  const box = document.createElement("div"), name = document.createElement("b"), words = document.createElement("div");
  box.className = "turn";
  name.textContent = role;
  words.className = "text";
  fill(words, text);
  if (role) box.append(name);
  box.append(words);
  return box;
}

function words(content) {
  if (content == null) return ""; // as beside a call of a tool
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.map((part) => part.text ?? JSON.stringify(part)).join("");
  return JSON.stringify(content);
}

// invisible names the characters of a text that would look blank; nothing of any other text, where they may belong, as in emoji.
function invisible(text) {
  if (!/^[\p{Cc}\p{Cf}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]*$/u.test(text)) return "";
  const all = Array.from(text, (c) => "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0"));
  return all.length ? `(invisible: ${all.slice(0, 40).join(" ")}${all.length > 40 ? ` … ${all.length} characters` : ""})` : "(empty)";
}

function showText(id, text) {
  const blank = invisible(text);
  fill($(id), blank || text);
  $(id).className = blank ? "text empty" : "text";
  $(id).parentElement.scrollTop = 0;
}

function show(v) {
  const p = v.progress, a = p.agreement;
  const percent = p.ready ? 100 * p.done / p.ready : 0;
  $("bar").style.width = percent + "%";
  $("bar").parentElement.setAttribute("aria-valuenow", Math.round(percent));
  $("count").textContent = `${p.done} of ${p.ready}` + (p.waiting ? ` (${p.waiting} being written)` : "");
  $("agreement").textContent = a.shared ? `agreement ${a.percent.toFixed(0)}%` + (a.has_alpha ? `, α ${a.alpha.toFixed(2)}` : "") + ` on ${a.shared}` : "";
  $("who").textContent = who;
  $("login").hidden = true;
  pair = v.pair || 0;
  $("work").hidden = !pair;
  $("wait").hidden = !!pair;
  clearTimeout(timer);
  if (!pair) {
    $("message").textContent = v.trouble ? "No more answers are coming: " + v.trouble
      : p.waiting ? "The next answers are being written …" : "All pairs are judged. Thank you!";
    if (p.waiting && !v.trouble) timer = setTimeout(() => next(), 1500);
    return;
  }
  const turns = typeof v.prompt === "string" ? [turn("", v.prompt)] : v.prompt.map((m) => turn(m.role, words(m.content)));
  $("prompt").replaceChildren(...turns);
  $("prompt").scrollTop = $("prompt").scrollHeight;
  showText("left", v.left);
  showText("right", v.right);
  $("comment").value = v.comment || ""; // of the verdict that was undone
  scrollTo(0, 0); // in a narrow window the answers stand in the page, not in boxes of their own
  since = performance.now();
}

async function act(path, body, said = "") {
  if (busy) return;
  busy = true;
  document.body.classList.add("busy"); // and no button is disabled, as the one that was pressed would lose the focus
  try {
    show(await call(path, body));
    note(said);
  } catch (e) {
    note(e.status ? e.message : "the server does not answer; is hone label still running?"); // the browser's own words for it help nobody
    if ($("work").hidden && $("wait").hidden) login(); // a first answer that failed leaves nothing else to go on with
    else if (!pair && !e.status) { // who waits for answers goes on waiting
      clearTimeout(timer); // one timer, or each vain click would leave another, which clears the comment on the first pair that comes
      timer = setTimeout(() => next(), 3000);
    }
    if (e.status === 409) setTimeout(() => next(e.message), 0); // judged in another tab: say so beside the next pair
  }
  busy = false;
  document.body.classList.remove("busy");
}

const next = (said = "") => act("/api/next?annotator=" + encodeURIComponent(who), undefined, said);
const undo = () => act("/api/undo", { annotator: who });
const judge = (verdict) => pair && act("/api/judge", {
  pair, annotator: who, verdict, comment: $("comment").value, seconds: (performance.now() - since) / 1000,
});

function login() {
  clearTimeout(timer); // who types a name waits for no pair, which would take the field away
  $("work").hidden = $("wait").hidden = true;
  $("login").hidden = false;
  $("name").value = who;
  $("name").focus();
}

$("login").addEventListener("submit", (e) => {
  e.preventDefault();
  who = $("name").value.trim();
  if (!who) return;
  sessionStorage.setItem("annotator", who);
  localStorage.setItem("annotator", who);
  next();
});
$("who").addEventListener("click", () => busy || login());
$("undo").addEventListener("click", undo);
$("undo2").addEventListener("click", undo);
document.querySelectorAll("[data-verdict]").forEach((b) => b.addEventListener("click", () => judge(b.dataset.verdict)));

const keys = { 1: "left", 2: "right", 3: "tie", 4: "bad", s: "skip", ArrowLeft: "left", ArrowRight: "right" };
document.addEventListener("keydown", (e) => {
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key; // caps lock or not
  if (e.repeat && key === "Enter" && e.target.tagName === "BUTTON") e.preventDefault(); // one that is held would judge pairs that nobody has seen
  if (e.ctrlKey || e.altKey || e.metaKey || e.repeat || !$("login").hidden || $("work").hidden && key !== "u") return;
  if (e.target.tagName === "INPUT") {
    if (e.isComposing) return; // Enter chooses a character there, and what is typed on is no verdict
    if (e.key === "Enter" || e.key === "Escape") e.target.blur();
    return;
  }
  if (keys[key]) judge(keys[key]);
  else if (key === "u") undo();
  else if (key === "c") { e.preventDefault(); $("comment").focus(); }
});

who ? next() : login();
