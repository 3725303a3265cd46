(function(){
if(!window.fetch)return;
var wait=10,timer,busy=false,root=document.documentElement,again=document.getElementById("again"),at=document.getElementById("looked");
function looked(){at.textContent=at.getAttribute("data-at").replace("%",new Date().toLocaleTimeString(root.lang))}
function plan(){clearTimeout(timer);timer=setTimeout(check,wait*1e3*(.75+Math.random()/2));wait=Math.min(wait*1.4,120)}
function check(){
if(busy)return;
if(document.hidden)return plan();
busy=true;
fetch(location.href,{method:"HEAD",cache:"no-store",redirect:"manual"}).then(function(r){
if(!r.headers.has("Maintenance-Page-Set")&&[502,503,504].indexOf(r.status)<0)location.reload();
},function(){}).then(function(){busy=false;looked();plan()})
}
function soon(){if(!document.hidden){wait=10;clearTimeout(timer);timer=setTimeout(check,1e3+Math.random()*2e3)}}
document.addEventListener("visibilitychange",soon);
addEventListener("online",soon);
again.addEventListener("click",function(){wait=10;at.setAttribute("role","status");check()});
again.hidden=false;
document.getElementById("host").textContent=location.hostname;
looked();
plan()
})()
