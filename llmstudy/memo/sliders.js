/* Looks up the setting of the sliders in the grid; computes nothing. */
(function () {
  "use strict";
  var root = document.getElementById("what-if");
  var data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  var inputs = [].slice.call(root.querySelectorAll("input"));
  var outputs = root.querySelectorAll("output");
  var summary = root.querySelector(".what-if-summary");
  var cells = root.querySelectorAll("tbody td");
  function show() {
    var place = 0;
    inputs.forEach(function (input, i) {
      var at = Number(input.value), value = data.values[i][at];
      outputs[i].textContent = value;
      input.setAttribute("aria-valuetext", value);
      place = place * data.values[i].length + at;
    });
    var row = data.rows[place];
    summary.textContent = data.text[row[0]];
    for (var k = 0; k < cells.length; k++) cells[k].textContent = data.text[row[k + 1]];
  }
  inputs.forEach(function (input) { input.addEventListener("input", show); });
  root.querySelector("button").addEventListener("click", function () {
    inputs.forEach(function (input, i) { input.value = data.base[i]; });
    show();
  });
  root.querySelector(".what-if-levers").hidden = false;
  inputs.forEach(function (input, i) { input.value = data.base[i]; });
  show();
})();
