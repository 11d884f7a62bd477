/* Puts the chosen theme on the page before it is painted. */
(function () {
  var root = document.documentElement;
  root.classList.add("js");
  try {
    var theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch (error) { /* storage is closed to us: the system's theme applies */ }
})();
