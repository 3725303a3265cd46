(function(){
if(!window.fetch)return;
var wait=10,timer,busy=false;
function plan(){clearTimeout(timer);timer=setTimeout(check,wait*1e3*(.75+Math.random()/2));wait=Math.min(wait*1.4,120)}
function check(){
if(busy)return;
if(document.hidden)return plan();
busy=true;
fetch(location.href,{method:"HEAD",cache:"no-store",redirect:"manual"}).then(function(r){
if(!r.headers.has("Maintenance-Page-Set")&&[502,503,504].indexOf(r.status)<0)location.reload();
},function(){}).then(function(){busy=false;plan()})
}
function soon(){if(!document.hidden){wait=10;clearTimeout(timer);timer=setTimeout(check,1e3+Math.random()*2e3)}}
document.addEventListener("visibilitychange",soon);
addEventListener("online",soon);
plan()
})()
