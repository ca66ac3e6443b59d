"""What a reader sees of a board's page, and does to it: headless Chromium over the Debian driver."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 30  # seconds for a file to be written, on a busy machine


class Reader:
    """What a reader sees of the first section, and does to it."""

    def __init__(self, driver: Chrome, path: Path) -> None:
        self.driver = driver
        driver.get(path.as_uri())
        self.section = self.all("section:not([hidden])", driver)[0]

    def all(self, selector: str, inside: Any = None) -> list[WebElement]:
        from selenium.webdriver.common.by import By

        found: list[WebElement] = (inside or self.section).find_elements(By.CSS_SELECTOR, selector)
        return found

    def log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]  # selenium's gap
        return entries

    def choose(self, control: str, text: str) -> None:
        from selenium.webdriver.support.select import Select

        Select(self.all(f"[data-control={control}]")[0]).select_by_visible_text(text)

    def options(self, control: str) -> list[str]:
        return [option.text for option in self.all(f"[data-control={control}] option")]

    def head(self, key: str) -> str:
        return self.all(f".main thead th[data-key={key}] button")[0].text

    def column(self, key: str) -> dict[str, str]:
        """The cells of a column by the row's name, lines joined."""
        return {
            self.all("td", row)[1].text: " ".join(self.all(f"td[data-key='{key}']", row)[0].text.split())
            for row in self.all(".main tr[data-row]")
        }

    def names(self) -> list[str]:
        return [self.all("td", row)[1].text for row in self.all(".main tr[data-row]")]

    def show(self, *columns: str) -> None:
        """Choose more columns."""
        self.driver.execute_script("arguments[0].open = true", self.all(".columns")[0])
        for column in columns:
            self.all(f"[data-column='{column}']")[0].click()

    def heads(self) -> list[str]:
        return [
            head.text.split("\n")[0].split(" ▼")[0]
            for head in self.all(".main thead th")
            if head.is_displayed()
        ]

    def ungroup(self) -> None:
        self.all("[data-control=group]")[0].click()

    def download(self, selector: str, folder: Path, inside: Any = None) -> Path:
        """Press a button that makes a file; where it then lies."""
        before = set(folder.iterdir())
        self.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
        )
        for menu in self.all(".menu.downloads"):
            self.driver.execute_script("arguments[0].open = true", menu)
        [button] = self.all(selector, inside)
        button.click()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            made = [path for path in set(folder.iterdir()) - before if path.suffix != ".crdownload"]
            if made and not any(path.name.startswith(".") for path in made):
                return made[0]
            time.sleep(0.05)
        raise AssertionError(f"{selector} made no file")

    def box(self, selector: str) -> dict[str, float]:
        """The place of the first such element in the window."""
        found: dict[str, float] = self.driver.execute_script(
            "return arguments[0].getBoundingClientRect().toJSON()", self.all(selector)[0]
        )
        return found

    def open_at(self, width: int, height: int, *, phone: bool = False, scheme: str = "light") -> None:
        """Open the page anew on such a screen; `as_before` ends it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.refresh()
        self.section = self.all("section:not([hidden])", self.driver)[0]

    def as_before(self) -> None:
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})

    def sort(self, text: str) -> None:
        [button] = [
            one for one in self.all(".main thead th button") if one.text.split(" ▲")[0].split(" ▼")[0] == text
        ]
        button.click()


def row_number(board: dict[str, Any], name: str) -> int:
    return [row["name"] for row in board["tables"][0]["rows"]].index(name)
