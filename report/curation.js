"use strict";
// Shows the clusters in which the words of the field stand.
const field = document.querySelector("#clusters input");
if (field) {
  const clusters = [...document.querySelectorAll("#clusters .cluster")].map((element) => ({ element, text: element.textContent.toLowerCase() }));
  field.addEventListener("input", () => {
    const want = field.value.toLowerCase();
    for (const c of clusters) c.element.hidden = !c.text.includes(want);
  });
}
