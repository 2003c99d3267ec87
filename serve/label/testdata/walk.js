// What people do with the page, for TestInBrowser; it runs behind page.js.
"use strict";

(async () => {
  const wrong = [];
  const check = (ok, text) => ok || wrong.push(text);
  const until = async (what, f) => {
    for (const end = Date.now() + 30000; !f(); await new Promise((done) => setTimeout(done, 20)))
      if (Date.now() > end) throw new Error("waited in vain until " + what);
  };
  const idle = () => until("the server answered", () => !busy);
  const enter = (name) => { $("name").value = name; document.querySelector("#login button").click(); };
  const press = (on, key, more) => on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
  const judgeLeft = async () => { document.querySelector("[data-verdict=left]").click(); await idle(); };
  const left = (letters) => { // where they stand on the left side of the page
    const text = $("left").querySelector("code").firstChild, range = document.createRange(), at = text.data.indexOf(letters);
    range.setStart(text, at);
    range.setEnd(text, at + 1);
    return range.getBoundingClientRect().left;
  };
  try {
    if (!sessionStorage.getItem("annotator")) { // the first visit
      enter("名".repeat(40)); // fits into the field, but not into the 64 bytes that a name may have
      await idle();
      check(!$("note").hidden, "a name that is too long is taken");
      location.reload();
      return;
    }
    await idle();
    check(!$("login").hidden, "after a name that was refused a reload asks for none");
    enter("W".repeat(64));
    await idle();
    check(!$("work").hidden, "there is no pair");
    check(document.documentElement.scrollWidth <= innerWidth, "a long name is wider than the window");
    check(Math.abs(left("tab") - left("four")) < 1, `a tab in code ends at ${left("tab")}, four spaces at ${left("four")}`);

    scrollTo(0, 1500);
    const button = document.querySelector("[data-verdict=left]");
    button.focus();
    button.click();
    check(!button.disabled, "the button that was pressed is disabled, and loses the focus");
    await idle();
    check(!press(button, "Enter", { repeat: true }), "an Enter that is held judges one pair after the other");
    check(press(button, "Enter"), "Enter does not press a button");
    for (const key of ["ArrowDown", "PageDown", "Tab"]) check(press(button, key, { repeat: true }), `${key} that is held does nothing on a button`);
    check(scrollY === 0, "the next pair is shown from " + scrollY + " pixels below its beginning");
    check($("bar").parentElement.getAttribute("aria-valuenow") === "33", "progress is " + $("bar").parentElement.getAttribute("aria-valuenow"));

    $("comment").focus();
    press($("comment"), "Enter", { isComposing: true });
    check(document.activeElement === $("comment"), "Enter in the middle of a character leaves the comment");
    press($("comment"), "Enter");
    check(document.activeElement !== $("comment"), "Enter stays in the comment");

    await judgeLeft();
    const sides = [$("left").textContent, $("right").textContent].sort().join(" ");
    check(sides === "(invisible: U+00AD U+E0041) (invisible: U+200B U+2060)", "answers of invisible characters are shown as " + sides);
    await judgeLeft();
    check(!$("wait").hidden, "after the last pair the page does not wait");
    $("who").click();
    await new Promise((done) => setTimeout(done, 2000)); // longer than the page waits before it asks again
    check(!$("login").hidden, "the field for a name is taken away while pairs are waited for");
  } catch (e) {
    wrong.push(e.message);
  }
  await fetch("/found", { method: "POST", body: wrong.join("\n") });
})();
