"""Models to take away: a folder that scores rows on a device, or offline, without Kilter."""
